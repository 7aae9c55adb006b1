"""Virtual tokens as a method of fine-tuning: what stands before every document is learned (``nn/virtual.py``)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from danlu.errors import RecipeError
from danlu.nn.config import TransformerConfig, Virtual
from danlu.nn.hf.folder import find_family
from danlu.nn.hf.peft_virtual import name_base, save_embedding
from danlu.nn.prompting import (
    add_virtual,
    embeddings_of,
    empty_prefix,
    is_virtual,
    keys_and_values_of,
    virtual_stack,
    with_virtual,
)
from danlu.nn.transformer import Transformer
from danlu.tasks.methods import Method, train_only, train_task_head
from danlu.tokenizers.folder import read_tokenizer


class VirtualTokens(Method):
    """What stands before every document is learned, and the model's own weights stay as they are.

    The result is the folder of the model with PEFT's files beside its weights, for it cannot be merged.
    """

    names_base: ClassVar[bool] = True

    tokens: int = Field(default=20, ge=1)
    """How many they are; a text has so many fewer that the model sees."""
    text: str | None = Field(default=None, min_length=1)
    """Begin as the words of this text, repeated or cut; by default as words drawn from the vocabulary."""

    def shape(self, config: TransformerConfig) -> TransformerConfig:
        if self.tokens >= config.max_length:
            raise RecipeError(f"finetune.method.tokens must be below {config.max_length}, which the model sees; "
                              f"got {self.tokens}")  # fmt: skip
        return replace(config, max_length=config.max_length - self.tokens)

    def add(self, model: Transformer, kind: Literal["prompt", "prefix"], *, tokenizer: Path, seed: int) -> None:
        """Put them into the model.

        Raises:
            RecipeError: the model cannot have them, or there is no token in the text.
        """
        virtual = Virtual(kind, self.tokens)
        try:
            with_virtual(model.config, virtual)
        except RecipeError as error:
            raise RecipeError(f"finetune.method {kind}: {error}") from None
        add_virtual(model, virtual, self.begun(model, tokenizer=tokenizer, seed=seed))

    def begun(self, model: Transformer, *, tokenizer: Path, seed: int) -> Tensor:
        """What they are at the first step, as :func:`~danlu.nn.prompting.add_virtual` takes it.

        Raises:
            RecipeError: there is no token in the text.
        """
        raise NotImplementedError(type(self).__name__)

    def train_them(self, model: Transformer) -> None:
        """Freeze all else but the head of a task."""
        train_only(model, {name for name, _ in model.named_parameters() if is_virtual(name)})
        train_task_head(model)

    def equip(self, folder: Path, *, base: Path) -> None:
        name_base(folder, base)

    def complete(self, model: Transformer, out: Path, *, tokenizer: Path | None) -> None:
        if tokenizer is not None:
            save_embedding(model, out / "model", find_family(model.config.family).weight_names(model.config))

    def words(self, tokenizer: Path, seed: int) -> Tensor:
        """``[P]`` ids of the tokens that they begin as."""
        inner, _ = read_tokenizer(tokenizer)
        if self.text is not None:
            ids = inner.encode(self.text, add_special_tokens=False).ids
            if not ids:
                raise RecipeError(f"finetune.method.text has no token; got {self.text!r:.60}")
            return torch.tensor((ids * self.tokens)[: self.tokens])
        words = sorted(set(inner.get_vocab(with_added_tokens=False).values()) - set(inner.get_added_tokens_decoder()))
        generator = torch.Generator().manual_seed(seed)
        return torch.tensor(words)[torch.randint(len(words), (self.tokens,), generator=generator)]


class Prompt(VirtualTokens):
    """Prompt tuning: the embeddings of virtual tokens are learned (Lester et al. 2021, arXiv:2104.08691).

    Of a model with an encoder and a decoder they stand in the encoder. A head that reads the first token of a document
    reads the first virtual one.
    """

    def begin(self, model: Transformer, *, tokenizer: Path, seed: int) -> None:
        self.add(model, "prompt", tokenizer=tokenizer, seed=seed)
        self.train_them(model)

    def begun(self, model: Transformer, *, tokenizer: Path, seed: int) -> Tensor:
        return embeddings_of(model, self.words(tokenizer, seed).to(model.embedding.weight.device))


class Prefix(VirtualTokens):
    """Prefix tuning: the keys and values of virtual tokens are learned in every layer (Li & Liang 2021,
    arXiv:2101.00190; Liu et al. 2022, P-tuning v2, arXiv:2110.07602).

    Of a model with an encoder and a decoder they stand in the decoder.
    """

    mlp: int | None = Field(default=None, ge=1)
    """Width of an MLP that makes them of embeddings while training, and is dropped in the end; None trains them
    themselves. What an MLP makes begins at random."""

    @model_validator(mode="after")
    def _begins_one_way(self) -> Self:
        if self.mlp is not None and self.text is not None:
            raise ValueError("text and mlp exclude each other: what an MLP makes begins at random")
        return self

    def begin(self, model: Transformer, *, tokenizer: Path, seed: int) -> None:
        if not find_family(model.config.family).takes_keys:
            raise RecipeError(f"finetune.method prefix: {model.config.family} models of transformers take no keys and "
                              "values from outside; use prompt")  # fmt: skip
        self.add(model, "prefix", tokenizer=tokenizer, seed=seed)
        prefix = virtual_stack(model).prefix
        if self.mlp is not None and prefix is not None:
            prefix.made_by_mlp(self.mlp, seed=seed)
        self.train_them(model)

    def begun(self, model: Transformer, *, tokenizer: Path, seed: int) -> Tensor:
        if self.mlp is not None:  # which makes all of it
            return empty_prefix(model, self.tokens)
        return keys_and_values_of(model, self.words(tokenizer, seed).to(model.embedding.weight.device))

    def finish(self, model: Transformer, out: Path, *, base: Path) -> None:
        prefix = virtual_stack(model).prefix
        if prefix is not None:
            prefix.without_mlp()

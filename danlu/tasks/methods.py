"""Which weights of a model a fine-tuning trains: all, a few, or adapters beside it.

What does not train has no master, no optimizer state and no gradient, and is in no checkpoint: it is the folder's.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from danlu.errors import RecipeError
from danlu.nn.config import Labels, TransformerConfig, Virtual
from danlu.nn.hf.folder import find_family
from danlu.nn.hf.peft import save_adapters, save_beside
from danlu.nn.hf.peft_virtual import name_base
from danlu.nn.lora import LoRA, add_adapters, merge
from danlu.nn.prompting import add_virtual, embeddings_of, is_virtual, keys_and_values_of, virtual_stack, with_virtual
from danlu.nn.quantized import Format, dequantize, quantize
from danlu.nn.transformer import Transformer
from danlu.optim.depth import layers_above
from danlu.recipe import Choice
from danlu.tokenizers.folder import read_tokenizer
from danlu.tokenizers.tokenizer import Tokenizer

ADAPTERS = "adapters"
"""The folder with them, in a form that ``peft`` loads."""


class Method(Choice):
    """A choice of what trains. The head of a task, with a pooler or what else it begins with, does so always."""

    def shape(self, config: TransformerConfig) -> TransformerConfig:
        """The shape of the model while it trains, as far as texts are read by it.

        Raises:
            RecipeError: the model leaves no room for what is added to it.
        """
        return config

    def begin(self, model: Transformer, *, tokenizer: Path, seed: int) -> None:
        """Freeze what does not train, and add what trains beside it.

        Args:
            tokenizer: the folder of the one that goes with the model.

        Raises:
            RecipeError: the model has nothing of that kind, or can get none.
        """

    def finish(self, model: Transformer, out: Path, *, base: Path) -> None:
        """Make a trained model one that a folder can hold; write what is of use beside it."""

    def equip(self, folder: Path, *, base: Path) -> None:
        """Write what else the saved model's folder needs."""

    def complete(self, model: Transformer, out: Path, *, tokenizer: Path | None) -> None:
        """Have what is beside the finished model be of it.

        Args:
            tokenizer: that of the model, where the one that began has fewer tokens.
        """


class Full(Method):
    """Every weight trains."""


class LowRank(LoRA, Method):
    """LoRA: the product of two narrow matrices is learned beside each frozen one (Hu et al. 2021, arXiv:2106.09685).

    The result is the model with the adapters merged into it, and the adapters alone as a folder of ``peft``.
    """

    quantize: Format | None = None
    """Keep the frozen matrices in so many bits while training: QLoRA (Dettmers et al. 2023, arXiv:2305.14314).
    The adapters learn to mend what that costs, so it is the quantised weights that they are merged into."""

    @model_validator(mode="after")
    def _has_targets(self) -> Self:
        if not self.targets:
            raise ValueError("targets must name a layer")
        return self

    def begin(self, model: Transformer, *, tokenizer: Path, seed: int) -> None:
        if self.quantize is not None:
            quantize(model, self.quantize)
        add_adapters(model, self, seed=seed)
        _train_task_head(model)

    def finish(self, model: Transformer, out: Path, *, base: Path) -> None:
        save_adapters(model, out / ADAPTERS, base=str(base))
        merge(model)
        dequantize(model)

    def complete(self, model: Transformer, out: Path, *, tokenizer: Path | None) -> None:
        save_beside(model, out / ADAPTERS, also=() if tokenizer is None else ["embedding.weight"])
        if tokenizer is not None:
            Tokenizer.load(tokenizer).save(out / ADAPTERS)


class BitFit(Method):
    """Only biases train (Ben Zaken et al. 2021, arXiv:2106.10199)."""

    def begin(self, model: Transformer, *, tokenizer: Path, seed: int) -> None:
        chosen = {name for name, _ in model.named_parameters() if name.endswith(".bias")}
        if not any(not name.startswith("head.") for name in chosen):
            raise RecipeError(f"finetune.method bitfit trains biases, of which {model.config.family} models have none")
        _train_only(model, chosen)
        _train_task_head(model)


class Frozen(Method):
    """The bottom of the model stays as it is: the embeddings and so many blocks above them, the encoder's first."""

    layers: int = Field(ge=0)
    """Blocks that do not train; 0 are the embeddings alone."""

    def begin(self, model: Transformer, *, tokenizer: Path, seed: int) -> None:
        above = layers_above(name for name, _ in model.named_parameters())
        top = max(above.values())
        if self.layers >= top:
            raise RecipeError(f"finetune.method.layers must be at most {top - 1}, the blocks that there are; "
                              f"got {self.layers}")  # fmt: skip
        _train_only(model, {name for name, layers in above.items() if top - layers > self.layers})
        _train_task_head(model)


class VirtualTokens(Method):
    """What stands before every document is learned, and the model's own weights stay as they are.

    The result is the folder of the model with PEFT's files beside its weights, for it cannot be merged.
    """

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
        words_P = self._words(tokenizer, seed).to(model.embedding.weight.device)
        begun = embeddings_of if kind == "prompt" else keys_and_values_of
        add_virtual(model, virtual, begun(model, words_P))

    def train_them(self, model: Transformer) -> None:
        """Freeze all else but the head of a task."""
        _train_only(model, {name for name, _ in model.named_parameters() if is_virtual(name)})
        _train_task_head(model)

    def equip(self, folder: Path, *, base: Path) -> None:
        name_base(folder, base)

    def _words(self, tokenizer: Path, seed: int) -> Tensor:
        """``[P]`` token ids to begin with."""
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

    def finish(self, model: Transformer, out: Path, *, base: Path) -> None:
        prefix = virtual_stack(model).prefix
        if prefix is not None:
            prefix.without_mlp()


def load_trained(model: Transformer, weights: dict[str, Tensor]) -> None:
    """Put trained weights, by name, into a model that begins as the trained one did."""
    named = dict(model.named_parameters())
    with torch.no_grad():
        for name, weight in weights.items():
            named[name].copy_(weight)


def _train_only(model: Transformer, names: set[str]) -> None:
    for name, weight in model.named_parameters():
        weight.requires_grad_(name in names)


def _train_task_head(model: Transformer) -> None:
    if isinstance(model.config.head, Labels):
        model.head.requires_grad_(True)

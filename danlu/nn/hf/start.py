"""A pretrained folder as the beginning of a model for a task: its weights, and a head that it has not, or not yet."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from danlu.errors import CheckpointError, RecipeError
from danlu.nn.config import Embedding, Labels, TransformerConfig
from danlu.nn.hf.config_file import ConfigFile
from danlu.nn.hf.folder import find_family, open_model, read_family_config, read_file
from danlu.nn.hf.tensors import read
from danlu.nn.hf.weight_files import weights_path
from danlu.nn.transformer import Transformer

Kind = Literal["ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering", "ForMultipleChoice"]
"""What follows ``Bert`` in the name of the class of ``transformers`` with such a head."""
HEAD_SPREAD = 0.02
"""Standard deviation of a new head's weights, as in ``transformers``."""


@dataclass(frozen=True)
class Start:
    """A folder, and the shape of the model that begins with its weights."""

    folder: Path
    config: TransformerConfig
    seed: int
    rows: int
    """Of the folder's embedding; those of new tokens come behind them."""

    def with_rows(self, vocabulary: int) -> Start:
        """The same for a tokenizer of so many tokens, where it has more than the folder's."""
        return replace(self, config=replace(self.config, vocab_size=max(vocabulary, self.rows)))

    def draw(self) -> Transformer:
        """The model, the same in each call; what the folder has not is drawn from ``seed``.

        Raises:
            CheckpointError: the folder lacks more than a head.
        """
        return self._begun()[0]

    @property
    def new(self) -> list[str]:
        """Weights that the folder has not, or not in this size; the rows of new tokens are not among them."""
        return self._begun()[1]

    @torch.no_grad()
    def _begun(self) -> tuple[Transformer, list[str]]:
        model = Transformer(self.config)
        model.initialise(self.seed)
        names = find_family(self.config.family).weight_names(self.config)
        new: list[str] = []
        with ExitStack() as stack:
            found, _ = open_model(self.folder, self.config, stack)
            for ours, weight in model.state_dict().items():
                if ours not in names:
                    continue
                shape = (self.rows, *weight.shape[1:]) if ours == "embedding.weight" else tuple(weight.shape)
                try:
                    there = all(name in found for name in names[ours].names)
                    value = read(found, names[ours], shape, weight.dtype) if there else None
                except CheckpointError:
                    if not ours.startswith("head."):
                        raise
                    value = None
                if value is not None:
                    weight.copy_(_lengthened(value, len(weight), self.seed) if len(value) < len(weight) else value)
                elif ours.startswith("head."):
                    new.append(ours)
                else:
                    lacking = f"{weights_path(self.folder)} lacks tensor {names[ours].names[0]}"
                    raise CheckpointError(f"{lacking}; config.json says otherwise")
        if any(name.startswith("head.out.") for name in new):
            generator = torch.Generator().manual_seed(self.seed)
            model.head.out.weight.normal_(0.0, HEAD_SPREAD, generator=generator)
        return model, new


def _lengthened(rows_VD: Tensor, count: int, seed: int) -> Tensor:
    """``[count, D]``: behind the rows others like them, drawn with the mean and spread of each column (Hewitt 2021)."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count - len(rows_VD), rows_VD.shape[1], generator=generator)
    spread_D, mean_D = torch.std_mean(rows_VD.float(), 0)
    return torch.cat([rows_VD, (noise * spread_D + mean_D).to(rows_VD.dtype)])


def begin(folder: Path, kind: Kind | None, *, labels: int, dropout: float | None = None, seed: int) -> Start:
    """The model in ``folder`` with a head for a task; where ``kind`` is None, with its own.

    Args:
        labels: how many the head scores.
        dropout: of the head's input; by default as the folder says.

    Raises:
        InputError, CheckpointError: there is no model, or it is damaged.
        RecipeError: models of its family have no such head.
    """
    if kind is None:
        config = read_family_config(read_file(folder))
        return Start(folder, config, seed, config.vocab_size)
    shaped = _of_class(folder, kind, labels=labels)
    head = shaped.head
    assert isinstance(head, Labels)
    if dropout is not None:
        shaped = replace(shaped, head=replace(head, dropout=dropout))
    return Start(folder, shaped, seed, shaped.vocab_size)


def with_words(folder: Path) -> TransformerConfig:
    """The shape of the model in ``folder`` as it predicts words, whatever head it has.

    Raises:
        InputError, CheckpointError: there is no model, or it is damaged.
    """
    config = read_family_config(read_file(folder))
    if config.words is not None:
        return config
    return _of_class(folder, "ForMaskedLM" if config.decoder is None else "ForCausalLM", labels=0)


def _of_class(folder: Path, kind: str, *, labels: int) -> TransformerConfig:
    """The shape of the model in ``folder`` if it were of the class that ends so."""
    file = read_file(folder)
    config = read_family_config(file)
    whole = find_family(config.family).architecture(config)
    stem = whole[: whole.index("For")] if "For" in whole else whole.removesuffix("Model")
    names = {str(number): f"LABEL_{number}" for number in range(labels)}
    values = {**file.values, "architectures": [f"{stem}{kind}"], "id2label": names}
    try:
        return read_family_config(ConfigFile(file.path, values, file.tensors))
    except CheckpointError as error:
        if "architectures" not in str(error):
            raise
        raise RecipeError(f"model: {config.family} models have no head {kind}; {error}") from None


def is_embedder(folder: Path) -> bool:
    """Whether the folder's own head makes vectors."""
    return isinstance(read_family_config(read_file(folder)).head, Embedding)

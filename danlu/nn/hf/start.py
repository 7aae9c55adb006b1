"""A pretrained folder as the beginning of a model for a task: its weights, and a head that it has not, or not yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from danlu.errors import CheckpointError, RecipeError
from danlu.nn.config import Embedding, Labels, Pooling, TransformerConfig
from danlu.nn.hf.config_file import ConfigFile
from danlu.nn.hf.folder import bare_config, find_family, open_model, read_family_config, read_file
from danlu.nn.hf.new_rows import NewTokens, with_new_rows
from danlu.nn.hf.peft_virtual import VirtualFile
from danlu.nn.hf.sentence_transformers import MODULES
from danlu.nn.hf.tensors import Readable, check_shape, read
from danlu.nn.hf.weight_files import weights_path
from danlu.nn.transformer import Transformer

Kind = Literal[
    "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering", "ForMultipleChoice", "Model"
]
"""What follows ``Bert`` in the name of the class of ``transformers`` with such a head; Model has none but vectors."""
OF_VOCABULARY = ("embedding.weight", "head.weight", "head.bias", "head.words.weight", "head.words.bias")
"""Weights with a row for each token."""
SCORES = "head.out."
"""Before the names of the weights that score labels."""
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
    others: bool = False
    """Whether the folder's head scores other labels, so that it begins anew."""
    added: NewTokens | None = None
    """What the tokenizer has that the folder's has not; None where that is all in rows behind the folder's, drawn."""

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
        with torch.device("meta"):
            model = Transformer(self.config)
        with ExitStack() as stack:
            return self._lacking(model, open_model(self.folder, self.config, stack)[0])

    @property
    def keeps_head(self) -> bool:
        """Whether the head that scores labels is the folder's."""
        return isinstance(self.config.head, Labels) and not any(name.startswith(SCORES) for name in self.new)

    def told(self) -> str:
        """In words, for the screen."""
        if not isinstance(self.config.head, Labels):
            return f"begins with {self.folder}"
        if not (new := self.new):
            return f"begins with {self.folder}, whose head is kept"
        reason = ", for the head there scores other labels" if self.others else ""
        return f"begins with {self.folder}; drawn anew: {', '.join(new)}{reason}"

    @torch.no_grad()
    def _begun(self) -> tuple[Transformer, list[str]]:
        with torch.device("meta"):  # no memory and no random numbers for weights that are read
            model = Transformer(self.config)
        there, new = self._read(model)
        if new:
            model = Transformer(self.config)
            model.initialise(self.seed)
            for name, weight in model.state_dict().items():
                if name in there:
                    weight.copy_(there[name])
            if any(name.startswith(SCORES) for name in new):
                generator = torch.Generator().manual_seed(self.seed)
                model.head.out.weight.normal_(0.0, HEAD_SPREAD, generator=generator)
            return model, new
        if self.config.tied:
            there[self.config.words_weight] = there["embedding.weight"]
        model.load_state_dict(there, assign=True)  # one parameter stays one where it stands at two places
        model.set_rotary()
        return model, new

    def _read(self, model: Transformer) -> tuple[dict[str, Tensor], list[str]]:
        """The weights that the folder has, and the names of those that it has not."""
        names = find_family(self.config.family).weight_names(self.config)
        there: dict[str, Tensor] = {}
        with ExitStack() as stack:
            found, _ = open_model(self.folder, self.config, stack)
            new = self._lacking(model, found)
            for ours, weight in model.state_dict().items():
                if ours in names and ours not in new:
                    value = read(found, names[ours], self._shape(ours, weight), weight.dtype)
                    grows = ours in OF_VOCABULARY and (len(value) < len(weight) or self.added is not None)
                    rows = with_new_rows(value, len(weight), self.added, seed=self.seed) if grows else value
                    there[ours] = nn.Parameter(rows) if grows else rows
        return there, new

    def _lacking(self, model: Transformer, found: Mapping[str, Readable]) -> list[str]:
        """Weights of a head that are not there, or not in this size.

        Raises:
            CheckpointError: the same of others.
        """
        names = find_family(self.config.family).weight_names(self.config)
        new: list[str] = []
        for ours, weight in model.state_dict().items():
            if ours not in names:
                continue
            if self.others and ours.startswith(SCORES):
                new.append(ours)
                continue
            whole = all(name in found for name in names[ours].names)
            if whole:
                try:
                    check_shape(found, names[ours], self._shape(ours, weight))
                except CheckpointError:
                    if not ours.startswith("head.") or ours in OF_VOCABULARY:
                        raise
                    whole = False
            if not whole and not ours.startswith("head."):
                lacking = f"{weights_path(self.folder)} lacks tensor {names[ours].names[0]}"
                raise CheckpointError(f"{lacking}; config.json says otherwise")
            if not whole:
                new.append(ours)
        return new

    def _shape(self, ours: str, weight: Tensor) -> tuple[int, ...]:
        """In the folder, which lacks the rows of new tokens."""
        return (self.rows, *weight.shape[1:]) if ours in OF_VOCABULARY else tuple(weight.shape)


def begin(
    folder: Path, kind: Kind | None, *, labels: int, names: Sequence[str] = (), dropout: float | None = None, seed: int
) -> Start:
    """The model in ``folder`` with a head for a task; where ``kind`` is None, with its own.

    A head that the folder has stays where it scores the same labels in the same order.

    Args:
        labels: how many the head scores.
        names: what they are called; where they have no names, a head of the same size stays.
        dropout: of the head's input; by default as the folder says.

    Raises:
        InputError, CheckpointError: there is no model, or it is damaged.
        RecipeError: models of its family have no such head, or this one has virtual tokens.
    """
    _refuse_virtual(folder)
    if kind is None:
        config = read_family_config(read_file(folder))
        return Start(folder, config, seed, config.vocab_size)
    shaped = _of_class(folder, kind, labels=labels)
    head = shaped.head
    assert isinstance(head, Labels)
    if dropout is not None:
        shaped = replace(shaped, head=replace(head, dropout=dropout))
    others = bool(names) and _labels(folder) not in ((), tuple(names))
    return Start(folder, shaped, seed, shaped.vocab_size, others)


def _labels(folder: Path) -> tuple[str, ...]:
    """What the head in ``folder`` scores, as ``config.json`` has it; nothing where its head is another."""
    file = read_file(folder)
    head = read_family_config(file).head
    if not isinstance(head, Labels):
        return ()
    names = file.get("id2label", {})
    return tuple(str(names.get(str(place), f"LABEL_{place}")) for place in range(head.count))


def begin_embedding(folder: Path, *, pooling: Pooling | None = None, seed: int) -> Start:
    """The model in ``folder`` as it makes vectors: without any other head, and as its modules say.

    A folder without modules makes vectors of length 1.

    Args:
        pooling: by default as the modules say; without any an encoder's mean, a decoder's last state.

    Raises:
        InputError, CheckpointError: there is no model, or it is damaged.
        RecipeError: models of its family make no vectors, or this one has virtual tokens.
    """
    _refuse_virtual(folder)
    config = bare_config(folder)
    both = config.encoder is not None and config.decoder is not None
    if both or not isinstance(config.head, Embedding):
        raise RecipeError(f"model: {config.family} models make no vectors of texts")
    normalise = config.head.normalise or not (folder / MODULES).exists()
    head = replace(config.head, pooling=pooling or config.head.pooling, normalise=normalise)
    return Start(folder, replace(config, head=head), seed, config.vocab_size)


def with_words(folder: Path) -> TransformerConfig:
    """The shape of the model in ``folder`` as it predicts words, whatever head it has.

    Raises:
        InputError, CheckpointError: there is no model, or it is damaged.
        RecipeError: it has virtual tokens.
    """
    _refuse_virtual(folder)
    config = read_family_config(read_file(folder))
    if config.words is not None:
        return config
    return _of_class(folder, "ForMaskedLM" if config.decoder is None else "ForCausalLM", labels=0)


def _refuse_virtual(folder: Path) -> None:
    if VirtualFile.load(folder) is not None:
        raise RecipeError(f"model: {folder} has virtual tokens, beside which nothing else is trained; "
                          "begin with the model that they were trained for")  # fmt: skip


def _of_class(folder: Path, kind: str, *, labels: int) -> TransformerConfig:
    """The shape of the model in ``folder`` if it were of the class that ends so."""
    file = read_file(folder)
    config = read_family_config(file)
    whole = find_family(config.family).architecture(config)
    stem = whole[: whole.index("For")] if "For" in whole else whole.removesuffix("Model").removesuffix("LMHead")
    names = {str(number): f"LABEL_{number}" for number in range(labels)}
    values = {**file.values, "architectures": [f"{stem}{kind}"], "id2label": names}
    try:
        return read_family_config(ConfigFile(file.path, values, file.tensors))
    except CheckpointError as error:
        if "architectures" not in str(error):
            raise
        raise RecipeError(f"model: {config.family} models have no head {kind}; {error}") from None

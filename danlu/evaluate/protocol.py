"""What a measure is given and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from danlu.corpus.store import TokenStore
from danlu.nn.transformer import Transformer
from danlu.stage import Figures
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.train.pretrain_settings import PretrainSettings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Subject:
    """A trained model, what it is measured on, and the part that it was trained on.

    ``model`` is in float32 and in evaluation mode; ``out`` is the folder that a measure writes to; ``training`` is the
    recipe's section ``pretrain``.
    """

    model: Transformer
    tokenizer: Tokenizer
    train: TokenStore
    heldout: TokenStore
    out: Path
    seed: int
    training: PretrainSettings | None = None
    _known: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What was found of this model; one made of it by ``replace`` has found nothing yet."""

    def once(self, name: Hashable, find: Callable[[], T]) -> T:
        """What ``find`` gives, which is called the first time only: several measures need the losses of one model."""
        if name not in self._known:
            self._known[name] = find()
        found: T = self._known[name]
        return found


class Measure(Protocol):
    """Settings of a measure."""

    def measure(self, subject: Subject) -> Figures:
        """The figures, named ``<group>.<figure>`` (``en.perplexity``); details go to files in ``subject.out``."""
        ...

"""What a measure is given and what it returns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from danlu.corpus.store import TokenStore
from danlu.nn.transformer import Transformer
from danlu.runs import Figures
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.train.pretrain_settings import PretrainSettings


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


class Measure(Protocol):
    """Settings of a measure."""

    def measure(self, subject: Subject) -> Figures:
        """The figures, named ``<group>.<figure>`` (``en.perplexity``); details go to files in ``subject.out``."""
        ...

"""Prefix language modelling: the beginning of a text is read in both directions, the rest is predicted."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field
from torch import Tensor

from danlu.corpus.batches import IGNORE, Batch, Example
from danlu.corpus.rows import Ints, Piece, Widths
from danlu.nn.transformer import Transformer
from danlu.objectives.protocol import Objective, Sides
from danlu.objectives.words import only_words
from danlu.tokenizers.vocabulary import Vocabulary


class PrefixLM(Objective):
    """A decoder as a prefix LM (Liu et al. 2018, arXiv:1801.10198; Raffel et al. 2020, arXiv:1910.10683, 3.2.1).

    Tokens of the prefix see each other both ways, each within its own document. Others are predicted from it and from
    those before them, and only these are scored. The weights load as those of any causal model, which ``transformers``
    lets read a prompt in one direction only.
    """

    sides: ClassVar[Sides] = "decoder"

    suffix: float | None = Field(default=None, gt=0, lt=1)
    """Share of a document that is predicted, at least a token of it (UL2's S-denoiser has 0.25); by default the border
    is drawn, every place equally likely, as for T5."""

    def widths(self, body: Ints) -> Widths:
        return Widths(body + 1)

    def example(self, piece: Piece, *, vocabulary: Vocabulary, noise: np.random.Generator) -> Example:
        """``tokens`` as for causal models, and which of them are the prefix: the first, at least, and maybe all."""
        tokens, targets = piece.tokens[:-1], piece.tokens[1:].copy()
        border = self._border(len(tokens), noise)
        targets[: max(border - 1, piece.seen)] = IGNORE  # the last of the prefix sees nothing of what it predicts
        return Example({"tokens": tokens, "prefix": np.arange(len(tokens)) < border}, {"words": targets})

    def losses(self, model: Transformer, batch: Batch) -> dict[str, Tensor]:
        return only_words(self, model, batch, sparse=True)

    def _border(self, length: int, noise: np.random.Generator) -> int:
        """Tokens of the prefix, 1 to ``length``."""
        if self.suffix is None:
            return int(noise.integers(1, length + 1))
        return length + 1 - max(1, round(self.suffix * length))

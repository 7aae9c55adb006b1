"""Fill-in-the-middle: a causal model learns to write what stands between two texts."""

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
from danlu.tokenizers.vocabulary import FIM, Vocabulary

ADDED = len(FIM)
"""Tokens that a document has more where its middle is moved."""


class FillInTheMiddle(Objective):
    """Causal LM of documents of which some have their middle at the end (Bavarian et al. 2022, arXiv:2207.14255).

    Such a document is ``<prefix>A<suffix>C<middle>B`` (PSM) or ``<prefix><suffix>C<middle>AB`` (SPM, the variant with
    which the paper trains both at once), and every token of it is predicted, the special ones too; it ends with
    end-of-text, which says that the middle has met the suffix, and it does so where a document is only a part of one.
    The paper cuts between characters; here it is between tokens, for a store has no characters: a model does not learn
    to go on in the middle of a token. Documents are moved before they are packed, none is cut by it.
    """

    sides: ClassVar[Sides] = "decoder"
    needs: ClassVar[tuple[str, ...]] = FIM

    rate: float = Field(default=0.5, ge=0, le=1)
    """Share of the documents whose middle is moved; the paper finds that up to 0.9 costs nothing elsewhere."""
    spm: float = Field(default=0.5, ge=0, le=1)
    """Share of those that are in the order suffix, prefix, middle."""

    def widths(self, body: Ints) -> Widths:
        """The most: a document that is not moved leaves ``ADDED`` of them empty."""
        return Widths(np.where(np.asarray(body) > 0, body + 1 + ADDED, 0))

    def example(self, piece: Piece, *, vocabulary: Vocabulary, noise: np.random.Generator) -> Example:
        """What is moved stands by itself: all of it is scored, also where it repeats tokens of the piece before."""
        if noise.random() >= self.rate:
            targets = piece.tokens[1:].copy()
            targets[: piece.seen] = IGNORE
            return Example({"tokens": piece.tokens[:-1]}, {"words": targets})
        moved = self._moved(piece.body, vocabulary, noise)
        whole = np.concatenate([[vocabulary.eot], moved, [vocabulary.eot]])
        return Example({"tokens": whole[:-1]}, {"words": whole[1:]})

    def losses(self, model: Transformer, batch: Batch) -> dict[str, Tensor]:
        return only_words(self, model, batch)

    def _moved(self, body: Ints, vocabulary: Vocabulary, noise: np.random.Generator) -> Ints:
        prefix, middle, suffix = np.split(body, np.sort(noise.integers(0, len(body) + 1, size=2)))
        before, between, behind = ([vocabulary.roles[role]] for role in FIM)
        if noise.random() < self.spm:
            return np.concatenate([before, behind, suffix, between, prefix, middle])
        return np.concatenate([before, prefix, behind, suffix, between, middle])

"""BART's denoising: an encoder reads a text with its sentences shuffled and spans masked, a decoder writes it whole."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field
from torch import Tensor

from danlu.corpus.batches import Batch, Example
from danlu.corpus.marks import SENTENCE
from danlu.corpus.rows import Ints, Piece, Widths
from danlu.corpus.store import TokenStore
from danlu.nn.transformer import Transformer
from danlu.objectives.protocol import Objective, Sides, need_marks
from danlu.objectives.sides import two_sides
from danlu.objectives.words import only_words
from danlu.tokenizers.vocabulary import Vocabulary

ENDS = 2
"""Tokens around a text."""


class BartDenoising(Objective):
    """Text infilling and sentence permutation (Lewis et al. 2020, arXiv:1910.13461).

    Spans of Poisson lengths become one mask each, whatever their length; one of length 0 puts a mask between two
    tokens. Two spans may touch. Fairseq draws spans until their lengths add up to the tokens that shall be masked; here
    their number is the one that is expected and the lengths are drawn given their sum, which makes them multinomial,
    so that it is known how long the source will be. Nor do spans begin where words do, as fairseq's, and none becomes a
    random token, as with its ``mask_random``. The source is ``[CLS] … [SEP]``; what is
    written is ``[CLS] …`` and end-of-text.
    """

    sides: ClassVar[Sides] = "both"
    needs: ClassVar[tuple[str, ...]] = ("mask", "cls", "sep")

    rate: float = Field(default=0.3, gt=0, lt=1)
    """Share of the tokens that are masked."""
    mean: float = Field(default=3.0, ge=1)
    """Tokens of a span, on average: the Poisson distribution's."""
    permute: bool = True
    """Whether sentences are shuffled; needs ``pack.marks`` of sentences."""

    def room(self, sequence: int) -> Widths:
        return Widths(sequence, max(1, int(self.widths(np.array(sequence - ENDS)).source)))

    def widths(self, body: Ints) -> Widths:
        body = np.asarray(body, dtype=np.int64)
        masked, spans = self._counts(body)
        there = body > 0
        return Widths(np.where(there, body + ENDS, 0), np.where(there, body - masked + spans + ENDS, 0))

    def example(self, piece: Piece, *, vocabulary: Vocabulary, noise: np.random.Generator) -> Example:
        body, roles = piece.body, vocabulary.roles
        source = self._infilled(self._shuffled(piece, noise), roles["mask"], noise)
        return two_sides(
            np.concatenate([[roles["cls"]], source, [roles["sep"]]]),
            np.concatenate([[roles["cls"]], body, [vocabulary.eot]]),
            vocabulary=vocabulary,
        )

    def losses(self, model: Transformer, batch: Batch) -> dict[str, Tensor]:
        return only_words(self, model, batch)

    def check(self, vocabulary: Vocabulary, store: TokenStore) -> None:
        super().check(vocabulary, store)
        if self.permute:
            need_marks(store, ("sentences",))

    def _counts(self, body: Ints) -> tuple[Ints, Ints]:
        """Tokens that are masked and spans that they are in, 0 long or longer: at least one of both."""
        masked = np.clip(np.round(body * self.rate).astype(np.int64), 1, None)
        return masked, np.maximum(1, np.round(masked / self.mean).astype(np.int64))

    def _shuffled(self, piece: Piece, noise: np.random.Generator) -> Ints:
        return permuted(piece.body, _sentence_starts(piece), noise) if self.permute else piece.body

    def _infilled(self, body: Ints, mask: int, noise: np.random.Generator) -> Ints:
        masked, spans = (int(count) for count in self._counts(np.array(len(body))))
        lengths = noise.multinomial(masked, np.full(spans, 1 / spans))
        is_mask = noise.permutation(np.arange(len(body) - masked + spans) < spans)
        covers = np.ones(len(is_mask), dtype=np.int64)
        covers[is_mask] = lengths
        first = np.cumsum(covers) - covers
        # A span of no tokens at the very end has none at its place; that of another is not looked at either.
        return np.where(is_mask, mask, body[np.minimum(first, len(body) - 1)])


def permuted(body: Ints, starts: Ints, noise: np.random.Generator) -> Ints:
    """The stretches of ``body`` that begin at ``starts``, the first of which is 0, in another order."""
    stretches = np.split(body, starts[1:])
    return np.concatenate([stretches[number] for number in noise.permutation(len(stretches))])


def _sentence_starts(piece: Piece) -> Ints:
    """Where in the body sentences begin; the first may have begun before it."""
    assert piece.store.marks is not None, "checked before"
    first = piece.start + 1
    marks = np.asarray(piece.store.marks[first : first + len(piece.body)])
    return np.union1d([0], np.flatnonzero(marks & SENTENCE))

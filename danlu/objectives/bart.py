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
DEVIATIONS = 3.0
"""A source has room for so many spans that the masked tokens are so many standard deviations below their mean sum."""


class BartDenoising(Objective):
    """Text infilling and sentence permutation (Lewis et al. 2020, arXiv:1910.13461).

    Spans of Poisson lengths become one mask each, whatever their length; one of length 0 puts a mask between two
    tokens. They are drawn until their lengths add up to the tokens that shall be masked, and the last one drawn is
    shortened, as in fairseq; draws of more spans than a source has room for, one in a thousand, are drawn again. Two
    spans may touch. Spans do not begin where words do, as fairseq's, and none becomes a random token, as with its
    ``mask_random``. The source is ``[CLS] … [SEP]``; what is written is ``[CLS] …`` and end-of-text.
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
        """Of the source the most, for how many spans there are is drawn."""
        body = np.asarray(body, dtype=np.int64)
        masked, there = self._masked(body), body > 0
        source = body - masked + self._most(masked) + ENDS
        return Widths(np.where(there, body + ENDS, 0), np.where(there, source, 0))

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

    def _masked(self, body: Ints) -> Ints:
        """Tokens that are masked, at least one."""
        return np.clip(np.round(body * self.rate).astype(np.int64), 1, None)

    def _most(self, masked: Ints) -> Ints:
        """Spans of so many tokens at most.

        The sum of k lengths is Poisson with ``k * mean`` for its mean and its variance, whose root is ``deviation``: of
        the most spans, ``deviation ** 2 - DEVIATIONS * deviation`` are as many as are masked.
        """
        deviation = (DEVIATIONS + np.sqrt(DEVIATIONS**2 + 4 * masked)) / 2
        most: Ints = np.ceil(deviation**2 / self.mean).astype(np.int64)
        return most

    def _lengths(self, masked: int, noise: np.random.Generator) -> Ints:
        """``[spans]`` tokens of each, 0 or more, ``masked`` in all."""
        most = int(self._most(np.array(masked)))
        while True:
            lengths: Ints = noise.poisson(self.mean, most)
            sums = np.cumsum(lengths)
            if sums[-1] >= masked:
                break
        spans = int(np.searchsorted(sums, masked)) + 1
        lengths[spans - 1] -= sums[spans - 1] - masked
        noise.shuffle(drawn := lengths[:spans])  # the shortened one stands anywhere
        return drawn

    def _shuffled(self, piece: Piece, noise: np.random.Generator) -> Ints:
        return permuted(piece.body, _sentence_starts(piece), noise) if self.permute else piece.body

    def _infilled(self, body: Ints, mask: int, noise: np.random.Generator) -> Ints:
        masked = int(self._masked(np.array(len(body))))
        lengths = self._lengths(masked, noise)
        spans = len(lengths)
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

"""Rows of one endless stream, all full but one, in an order that is a pure function of (seed, epoch, row).

Each epoch reads the store as a ring, from another starting point, cut into rows of ``length``
targets, and shuffles the rows. Every target of the store is in exactly one row of an epoch; no
token is thrown away, and documents are cut wherever a row ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from danlu.corpus.rows import NOTHING_UNUSED, Piece, Unused
from danlu.corpus.shuffle import shuffled
from danlu.corpus.store import TokenStore


@dataclass
class StreamRows:
    """Random access by global row number."""

    store: TokenStore
    length: int
    """Targets a row has at most; only the last row of the ring has fewer."""
    seed: int

    @property
    def per_epoch(self) -> int:
        """Rows that hold the whole store once."""
        return -(-self.store.targets // self.length)

    @property
    def tokens(self) -> int:
        return self.store.targets

    @property
    def unused(self) -> Unused:
        """Nothing."""
        return NOTHING_UNUSED

    @property
    def several(self) -> bool:
        """A single document needs no borders, and attention is faster without."""
        return self.store.border is not None

    def __getitem__(self, number: int) -> list[Piece]:
        """What each document has in this row; the last token of a piece is a target only."""
        epoch, place = divmod(number, self.per_epoch)
        start = shuffled(self.per_epoch, self.seed, epoch)[place] * self.length
        count = min(self.length, self.store.targets - start)
        first = (_shift(self.store.targets, self.seed, epoch) + start) % self.store.targets
        until_end = min(count, self.store.targets - first)
        pieces = self._pieces(first, until_end)
        if until_end < count:  # over the end: the stream's last token is eot, and so is its first
            pieces += self._pieces(0, count - until_end)
        return pieces

    def _pieces(self, first: int, targets: int) -> list[Piece]:
        """A stretch of the stream, cut behind each end-of-text token, which begins the next piece too."""
        tokens = np.asarray(self.store.tokens[first : first + targets + 1], dtype=np.int64)
        inner = np.flatnonzero(tokens[1:-1] == self.store.eot) + 1
        borders = [0, *inner.tolist(), targets]
        return [Piece(self.store, first + begin, tokens[begin : end + 1]) for begin, end in pairwise(borders)]


@lru_cache(maxsize=64)
def _shift(targets: int, seed: int, epoch: int) -> int:
    """Where an epoch begins the ring."""
    return int(np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, epoch]))).integers(targets))

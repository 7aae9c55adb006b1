"""Rows of a token store in an order that is a pure function of (seed, epoch, row).

Each epoch reads the stream as a ring, from another starting point, cut into rows of ``length``
targets, and shuffles the rows. Every target of the store is in exactly one row of an epoch; no
token is thrown away.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from danlu.corpus.store import TokenStore

Ints = np.ndarray[Any, np.dtype[np.int64]]


@dataclass
class Rows:
    """Random access by global row number: row ``n`` is row ``n % per_epoch`` of epoch ``n // per_epoch``."""

    store: TokenStore
    length: int
    """Targets a row has at most; only the last row of the ring has fewer."""
    seed: int
    _epoch: int = field(default=-1, init=False)
    _order: Ints = field(init=False, repr=False)
    _shift: int = field(default=0, init=False)

    @property
    def per_epoch(self) -> int:
        """Rows that hold the whole store once."""
        return -(-self.store.targets // self.length)

    def __getitem__(self, number: int) -> Ints:
        """``[1 + targets]`` token ids: the inputs are all but the last, the targets all but the first."""
        epoch, place = divmod(number, self.per_epoch)
        if epoch != self._epoch:
            self._begin(epoch)
        start = int(self._order[place]) * self.length
        count = min(self.length, self.store.targets - start)
        first = (self._shift + start) % self.store.targets
        until_end = min(count, self.store.targets - first)
        row = np.asarray(self.store.tokens[first : first + until_end + 1], dtype=np.int64)
        if until_end < count:  # over the end: the stream's last token is eot, and so is its first
            rest = np.asarray(self.store.tokens[1 : count - until_end + 1], dtype=np.int64)
            row = np.concatenate([row, rest])
        return row

    def _begin(self, epoch: int) -> None:
        generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([self.seed, epoch])))
        self._shift = int(generator.integers(self.store.targets))
        self._order = generator.permutation(self.per_epoch)
        self._epoch = epoch

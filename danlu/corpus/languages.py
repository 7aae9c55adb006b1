"""The documents of a language by their rank: counted at every so many documents, and never listed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np

from danlu.corpus.mapped import Array, Ints
from danlu.corpus.table import DocumentTable, Flags

COUNTED = 1 << 9
"""Documents from one count to the next, which are looked through to find one: 8 bytes a language are held for these."""


class Spoken(Sequence[int]):
    """Numbers of the documents in one language, rising; each is looked up when it is asked for."""

    def __init__(self, table: DocumentTable, code: int, before: Ints) -> None:
        self._table, self._code = table, code
        self._before = before
        """``[blocks + 1]`` documents in the language before those of each block."""

    def __len__(self) -> int:
        return int(self._before[-1])

    @overload
    def __getitem__(self, rank: int) -> int: ...
    @overload
    def __getitem__(self, rank: slice) -> Sequence[int]: ...
    def __getitem__(self, rank: int | slice) -> Any:
        if isinstance(rank, slice):
            return [self[each] for each in range(*rank.indices(len(self)))]
        place = range(len(self))[rank]
        block = int(np.searchsorted(self._before, place, side="right")) - 1
        found = np.flatnonzero(self._flags(block))[place - int(self._before[block])]
        return block * COUNTED + int(found)

    def index(self, number: Any, start: int = 0, stop: int | None = None) -> int:
        """The rank of a document.

        Raises:
            ValueError: it is in another language, or not between these ranks.
        """
        block, within = divmod(int(number), COUNTED)
        flags = self._flags(block)
        rank = int(self._before[block]) + int(flags[:within].sum())
        if not flags[within] or rank not in range(*slice(start, stop).indices(len(self))):
            raise ValueError(f"{number} is not one of these documents")
        return rank

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        blocks = [block * COUNTED + np.flatnonzero(self._flags(block)) for block in range(len(self._before) - 1)]
        return np.concatenate([np.zeros(0, dtype=np.int64), *blocks]).astype(dtype or np.int64)

    def _flags(self, block: int) -> Flags:
        rows = self._table.rows[block * COUNTED : (block + 1) * COUNTED]
        return np.asarray(rows["language"] == self._code)


def spoken(table: DocumentTable) -> dict[str, Spoken]:
    """The documents in each language that some are in; all are looked through once."""
    blocks = -(-len(table) // COUNTED)
    before = np.zeros((len(table.languages), blocks + 1), dtype=np.int64)
    for block in range(blocks):
        codes = table.rows[block * COUNTED : (block + 1) * COUNTED]["language"]
        before[:, block + 1] = np.bincount(codes, minlength=len(before))
    np.cumsum(before, axis=1, out=before)
    each = zip(table.languages, before, strict=True)
    return {name: Spoken(table, code, counts) for code, (name, counts) in enumerate(each) if counts[-1]}

"""Best-fit packing: pieces of many lengths into as few rows as may be (Ding et al. 2024, arXiv:2404.10830).

The longest piece goes first; each goes where it leaves the least room. A piece is never cut.
"""

from __future__ import annotations

import numpy as np

from danlu.corpus.rows import Ints, Widths

TRIES = 8
"""Rows that are looked at where the second side of a piece may not fit, before a new one is begun."""


def best_fit(widths: Widths, room: Widths) -> tuple[Ints, Ints]:
    """Pieces in the order of the rows that they are in, and the borders of the rows in that order.

    Args:
        widths: of the pieces, each at least 1 and at most ``room``.

    Returns:
        ``[pieces]`` numbers of pieces and ``[rows + 1]`` borders: row ``r`` is ``order[borders[r] : borders[r + 1]]``.
    """
    inputs = np.asarray(widths.inputs, dtype=np.int64)
    source = np.broadcast_to(np.asarray(widths.source, dtype=np.int64), inputs.shape)
    row_of = np.empty(len(inputs), dtype=np.int64)
    rows = _OpenRows(room)
    for piece in np.argsort(-(inputs + source), kind="stable").tolist():
        row_of[piece] = rows.place(int(inputs[piece]), int(source[piece]))
    order = np.argsort(row_of, kind="stable")
    return order, np.searchsorted(row_of[order], np.arange(rows.count + 1))


class _OpenRows:
    """Rows that are not full, found by how much room they have."""

    def __init__(self, room: Widths) -> None:
        self.room = room
        self.source_left: list[int] = []
        """Of every row."""
        self._by_room: list[list[int]] = [[] for _ in range(int(room.inputs) + 1)]
        self._there = 0
        """A bit for each entry of ``_by_room`` that is not empty: its lowest set bit is found in no time."""

    @property
    def count(self) -> int:
        return len(self.source_left)

    def place(self, inputs: int, source: int) -> int:
        """The row that a piece goes to."""
        found = self._take(inputs, source)
        if found is None:
            found = (self.count, int(self.room.inputs))
            self.source_left.append(int(self.room.source))
        row, left = found
        self.source_left[row] -= source
        if left > inputs:
            self._by_room[left - inputs].append(row)
            self._there |= 1 << (left - inputs)
        return row

    def _take(self, inputs: int, source: int) -> tuple[int, int] | None:
        """The row with the least room that is enough, no longer open, and that room."""
        tries, left, rest = 0, inputs, self._there >> inputs
        while rest:
            skip = (rest & -rest).bit_length() - 1
            left += skip
            rows = self._by_room[left]
            for place in range(len(rows) - 1, -1, -1):
                if self.source_left[rows[place]] >= source:
                    row = rows.pop(place)
                    if not rows:
                        self._there &= ~(1 << left)
                    return row, left
                tries += 1
                if tries == TRIES:
                    return None
            rest >>= skip + 1
            left += 1
        return None

"""Best-fit packing: pieces of many lengths into as few rows as may be (Ding et al. 2024, arXiv:2404.10830).

The longest piece goes first; each goes where it leaves the least room, on both sides where there are two. A piece is
never cut.
"""

from __future__ import annotations

import math

import numpy as np

from danlu.corpus.rows import Ints, Widths


def best_fit(widths: Widths, room: Widths) -> tuple[Ints, Ints]:
    """Pieces in the order of the rows that they are in, and the borders of the rows in that order.

    Args:
        widths: of the pieces, each at least 1 and at most ``room``.

    Returns:
        ``[pieces]`` numbers of pieces and ``[rows + 1]`` borders: row ``r`` is ``order[borders[r] : borders[r + 1]]``.
    """
    inputs = np.asarray(widths.inputs, dtype=np.int64)
    source = np.broadcast_to(np.asarray(widths.source, dtype=np.int64), inputs.shape)
    rows = _OpenRows(room)
    row_of = np.empty(len(inputs), dtype=np.int64)
    sizes = inputs / max(1, room.inputs) + source / max(1, room.source)
    for piece in np.argsort(-sizes, kind="stable").tolist():
        row_of[piece] = rows.place(int(inputs[piece]), int(source[piece]))
    order = np.argsort(row_of, kind="stable")
    return order, np.searchsorted(row_of[order], np.arange(rows.count + 1))


class _OpenRows:
    """Rows by how much room they have on both sides, of which the narrower one is looked through."""

    def __init__(self, room: Widths) -> None:
        self.count = 0
        self._turned = room.inputs > room.source
        self._narrow, self._wide = (int(side) for side in (room[::-1] if self._turned else room))
        self._there = [0] * (self._narrow + 1)
        """For each room on the narrow side a bit for every room on the wide one that some row has."""
        self._somewhere = 0
        """A bit for every room on the narrow side that some row has."""
        self._rows: dict[tuple[int, int], list[int]] = {}

    def place(self, inputs: int, source: int) -> int:
        """The row that a piece goes to."""
        narrow, wide = (source, inputs) if self._turned else (inputs, source)
        found = self._tightest(narrow, wide)
        if found is None:
            row, found = self.count, (self._narrow, self._wide)
            self.count += 1
        else:
            row = self._take(found)
        self._put(row, (found[0] - narrow, found[1] - wide))
        return row

    def _tightest(self, narrow: int, wide: int) -> tuple[int, int] | None:
        """The room, of those that are enough, of which least is left, each side as a share of a row."""
        best, least = None, math.inf
        rest = self._somewhere >> narrow << narrow
        while rest:
            place = _lowest(rest)
            rest &= rest - 1
            left = (place - narrow) / max(1, self._narrow)
            if left >= least:
                break
            if enough := self._there[place] >> wide:
                spare = _lowest(enough)
                if (here := left + spare / self._wide) < least:
                    best, least = (place, wide + spare), here
        return best

    def _take(self, room: tuple[int, int]) -> int:
        rows = self._rows[room]
        row = rows.pop()
        if not rows:
            self._there[room[0]] &= ~(1 << room[1])
            if not self._there[room[0]]:
                self._somewhere &= ~(1 << room[0])
        return row

    def _put(self, row: int, room: tuple[int, int]) -> None:
        if room[1 if self._turned else 0]:  # a row that has no room for inputs takes nothing
            self._rows.setdefault(room, []).append(row)
            self._there[room[0]] |= 1 << room[1]
            self._somewhere |= 1 << room[0]


def _lowest(bits: int) -> int:
    """The number of the lowest bit that is set."""
    return (bits & -bits).bit_length() - 1


def alike(widths: Widths, room: Widths) -> Widths:
    """``room`` with the narrower side of two so wide that pieces as these fill both at once.

    Short documents have more than their share on the side of a decoder that writes what the encoder misses: each has a
    sentinel and an end of its own. With the room that one long document needs there, the encoder would stay partly
    empty.
    """
    if not 0 < room.inputs < room.source:
        return room
    share = float(np.sum(widths.inputs)) / float(np.sum(widths.source))
    return Widths(min(room.source, max(room.inputs, math.ceil(share * room.source))), room.source)

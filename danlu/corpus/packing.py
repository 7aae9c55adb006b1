"""Best-fit packing: pieces of many lengths into as few rows as may be (Ding et al. 2024, arXiv:2404.10830).

The longest piece goes first; each goes where it leaves the least room, on both sides where there are two. A piece is
never cut. As pieces of one size go the same way, all of a size are placed at once, and rows that are filled alike are
one entry with a count (as Krell et al. 2021, arXiv:2107.02027, do with a histogram): work and memory follow from how
many sizes there are, not from how many pieces.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from danlu.corpus.rows import Ints, Widths

Flags = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Filling:
    """Which pieces each row has, of pieces that are numbered by size: those of the first size first."""

    before: Ints
    """``[kinds + 1]`` rows before those of each kind; rows of a kind hold as many of each size as the others."""
    borders: Ints
    """``[kinds + 1]`` where the entries of each kind begin."""
    first: Ints
    """``[entries]`` the first piece of a size that rows of this kind take."""
    copies: Ints
    """``[entries]`` pieces of that size in each of these rows."""

    def __len__(self) -> int:
        return int(self.before[-1])

    def __getitem__(self, row: int) -> Ints:
        """The numbers of the pieces of a row, the longest first."""
        kind = int(np.searchsorted(self.before, row, side="right")) - 1
        within = row - int(self.before[kind])
        entries = range(int(self.borders[kind]), int(self.borders[kind + 1]))
        return np.concatenate([self.first[e] + within * self.copies[e] + np.arange(self.copies[e]) for e in entries])

    def behind(self, other: Filling) -> Filling:
        """The rows of ``other``, then these."""
        parts = (np.concatenate([mine[:0], theirs, mine]) for mine, theirs in (
            (self.before[1:] + len(other), other.before), (self.borders[1:] + other.borders[-1], other.borders),
            (self.first, other.first), (self.copies, other.copies),
        ))  # fmt: skip
        return Filling(*parts)


def one_each(pieces: int, at_once: int = 1) -> Filling:
    """Rows of one piece, or of ``at_once``, of which there must be a multiple."""
    return Filling(*(np.array(each, dtype=np.int64) for each in ([0, pieces // at_once], [0, 1], [0], [at_once])))


def fill(sizes: Widths, counts: Ints, room: Widths, *, only: Flags | None = None) -> Filling:
    """Rows that hold all pieces.

    Args:
        sizes: ``[sizes]`` each, every one within ``room``.
        counts: ``[sizes]`` pieces of each.
        only: ``[sizes]`` which are placed, where it is not all.
    """
    inputs = np.asarray(sizes.inputs, dtype=np.int64)
    source = np.broadcast_to(np.asarray(sizes.source, dtype=np.int64), inputs.shape)
    rows = _OpenRows(room)
    shares = inputs / max(1, room.inputs) + source / max(1, room.source)
    order = np.argsort(-shares, kind="stable")
    for size in (order if only is None else order[only[order]]).tolist():
        rows.place(size, int(inputs[size]), int(source[size]), int(counts[size]))
    return rows.filling(np.cumsum(counts) - counts)


Room = tuple[int, int]


class _OpenRows:
    """Rows by how much room they have on both sides, of which the narrower one is looked through."""

    def __init__(self, room: Widths) -> None:
        self._turned = room.inputs > room.source
        self._narrow, self._wide = (int(side) for side in (room[::-1] if self._turned else room))
        self._there = [0] * (self._narrow + 1)
        """For each room on the narrow side a bit for every room on the wide one that some row has."""
        self._somewhere = 0
        """A bit for every room on the narrow side that some row has."""
        self._rows: dict[Room, list[tuple[int, int]]] = {}
        """What rows with so much room hold, and how many rows do."""
        self._full: list[tuple[int, int]] = []
        self._holds: list[tuple[int, int, int]] = []
        """What rows hold: what they held before, a size, and how many of that."""

    def place(self, size: int, inputs: int, source: int, count: int) -> None:
        """Put all pieces of a size where one after the other would go.

        A row that a piece fits into best fits the next of its size best too, as long as there is room: it leaves less
        than before, and than any other.
        """
        narrow, wide = (source, inputs) if self._turned else (inputs, source)
        while count:
            found = self._tightest(narrow, wide)
            room, held, rows = ((self._narrow, self._wide), -1, count) if found is None else (found, *self._take(found))
            each = min(have // want for have, want in zip(room, (narrow, wide), strict=True) if want)
            if count < each:
                each, now = count, 1
            else:
                now = min(rows, count // each)
            if found is not None and now < rows:
                self._put(found, held, rows - now)
            count -= each * now
            self._holds.append((held, size, each))
            self._put((room[0] - each * narrow, room[1] - each * wide), len(self._holds) - 1, now)

    def _tightest(self, narrow: int, wide: int) -> Room | None:
        """The room, of those that are enough, of which least is left, each side as a share of a row."""
        best, least = None, math.inf
        # Looked up once: the loop is most of the work.
        there, one, other = self._there, max(1, self._narrow), self._wide
        rest, before = self._somewhere >> narrow, narrow
        while rest:
            step = (rest & -rest).bit_length()
            place = before + step - 1
            rest, before = rest >> step, before + step
            left = (place - narrow) / one
            if left >= least:
                break
            if enough := there[place] >> wide:
                spare = (enough & -enough).bit_length() - 1
                if (here := left + spare / other) < least:
                    best, least = (place, wide + spare), here
        return best

    def _take(self, room: Room) -> tuple[int, int]:
        rows = self._rows[room]
        taken = rows.pop()
        if not rows:
            self._there[room[0]] &= ~(1 << room[1])
            if not self._there[room[0]]:
                self._somewhere &= ~(1 << room[0])
        return taken

    def _put(self, room: Room, held: int, rows: int) -> None:
        if not room[1 if self._turned else 0]:  # a row that has no room for inputs takes nothing
            self._full.append((held, rows))
            return
        self._rows.setdefault(room, []).append((held, rows))
        self._there[room[0]] |= 1 << room[1]
        self._somewhere |= 1 << room[0]

    def filling(self, starts: Ints) -> Filling:
        """The rows as they are now; ``starts`` says which piece of all is the first of each size."""
        free = starts.tolist()
        counts, borders, firsts, copies = [0], [0], [], []
        for last, rows in [*self._full, *(each for kinds in self._rows.values() for each in kinds)]:
            entries, held = [], last
            while held >= 0:
                held, size, each = self._holds[held]
                entries.append((free[size], each))
                free[size] += each * rows
            firsts += [first for first, _ in reversed(entries)]
            copies += [each for _, each in reversed(entries)]
            counts.append(rows)
            borders.append(len(firsts))
        return Filling(np.cumsum(counts), *(np.array(each, dtype=np.int64) for each in (borders, firsts, copies)))


def alike(widths: Widths, room: Widths, counts: Ints | int = 1) -> Widths:
    """``room`` with the narrower side of two so wide that pieces as these fill both at once.

    Short documents have more than their share on the side of a decoder that writes what the encoder misses: each has a
    sentinel and an end of its own. With the room that one long document needs there, the encoder would stay partly
    empty.

    Args:
        counts: pieces of each of ``widths``.
    """
    if not 0 < room.inputs < room.source:
        return room
    share = float(np.sum(widths.inputs * counts)) / float(np.sum(widths.source * counts))
    return Widths(min(room.source, max(room.inputs, math.ceil(share * room.source))), room.source)

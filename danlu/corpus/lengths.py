"""The documents of a store in the order of their lengths: with it rows of whole documents need no list of pieces.

How documents of a length are cut, and what fits beside what, follows from the length alone. There are few lengths: D
different ones take at least D² / 2 tokens, so that a store of T tokens has at most √(2 T) of them, 316,000 in 50
billion tokens. Which document is the n-th of a length is looked up on the disk.

Of pairs of texts the length of the first side decides too: those of one length stand in its order, and there is an
entry for each two lengths that sides have together, at most 131,000 where pairs have up to 512 tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from danlu.corpus.mapped import AT_ONCE, Ints, mapped, scratch

FILES = ("by_length.bin", "lengths.bin")
SIDE_BITS = 31
"""Of the length of a first side in the numbers that pairs are sorted by; as many are left for that of the whole."""


@dataclass(frozen=True)
class Lengths:
    """Documents by how many tokens they have, end-of-text not counted, and pairs by their first sides too."""

    order: Ints
    """``[documents]`` their numbers, the shortest first, those of one length and side rising."""
    lengths: Ints
    """``[D]`` the different lengths, rising; of pairs each as often as there are different first sides."""
    counts: Ints
    """``[D]`` documents of each."""

    @classmethod
    def open(cls, folder: Path) -> Lengths:
        """Those of the store in ``folder``; the order stays on the disk.

        Raises:
            OSError, ValueError: a file is missing, or cut.
        """
        known = np.fromfile(folder / "lengths.bin", dtype="<i8").reshape(-1, 2)
        return cls(mapped(folder / "by_length.bin", "<i8"), known[:, 0].copy(), known[:, 1].copy())

    @classmethod
    def of(cls, starts: Any, sides: Any = None) -> Lengths:
        """Of documents that begin there, and whose first sides are so long, where some are pairs."""
        kinds, counts = _counted(starts, sides)
        order = scratch(len(starts) - 1)
        _fill(order, starts, sides, kinds, counts)
        return cls(order, _lengths(kinds, sides), counts)

    def fits(self, documents: int, *, pairs: bool = False) -> bool:
        """Whether it can be that of so many documents; the order is not read."""
        steps = np.diff(self.lengths)
        rising = bool((steps >= (0 if pairs else 1)).all() and (self.lengths >= 0).all() and (self.counts > 0).all())
        return rising and len(self.order) == documents == int(self.counts.sum())


def write_lengths(folder: Path, starts: Any, sides: Any = None) -> None:
    """Write the files of a store, in memory that does not grow with its documents."""
    kinds, counts = _counted(starts, sides)
    np.stack([_lengths(kinds, sides), counts], axis=1).astype("<i8").tofile(folder / "lengths.bin")
    path = folder / "by_length.bin"
    path.write_bytes(b"")
    if len(starts) > 1:
        order = np.memmap(path, dtype="<i8", mode="w+", shape=(len(starts) - 1,))
        _fill(order, starts, sides, kinds, counts)
        order.flush()


def _blocks(starts: Any, sides: Any) -> Iterator[tuple[int, Ints]]:
    """The first number and the kinds of many documents at once: the length, or of pairs it and the first side's."""
    for first in range(0, len(starts) - 1, AT_ONCE):
        borders: Ints = np.asarray(starts[first : first + AT_ONCE + 1], dtype=np.int64)
        lengths = borders[1:] - borders[:-1] - 1
        yield first, lengths if sides is None else lengths << SIDE_BITS | sides[first : first + AT_ONCE]


def _lengths(kinds: Ints, sides: Any) -> Ints:
    return kinds if sides is None else kinds >> SIDE_BITS


def _counted(starts: Any, sides: Any) -> tuple[Ints, Ints]:
    kinds, counts = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    for _, block in _blocks(starts, sides):
        found, times = np.unique(block, return_counts=True)
        merged, places = np.unique(np.concatenate([kinds, found]), return_inverse=True)
        total = np.zeros(len(merged), dtype=np.int64)
        np.add.at(total, places, np.concatenate([counts, times]))
        kinds, counts = merged, total
    return kinds, counts


def _fill(order: Ints, starts: Any, sides: Any, kinds: Ints, counts: Ints) -> None:
    """Counting sort: the documents of a block go behind those of the same kind before."""
    free = np.cumsum(counts) - counts
    for first, block in _blocks(starts, sides):
        sort = np.argsort(block, kind="stable")
        which, begins, times = np.unique(block[sort], return_index=True, return_counts=True)
        places = np.searchsorted(kinds, which)
        within = np.arange(len(block)) - np.repeat(begins, times)
        order[np.repeat(free[places], times) + within] = first + sort
        free[places] += times

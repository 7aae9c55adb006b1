"""The documents of a store in the order of their lengths: with it rows of whole documents need no list of pieces.

How documents of a length are cut, and what fits beside what, follows from the length alone. There are few lengths: D
different ones take at least D² / 2 tokens, so that a store of T tokens has at most √(2 T) of them, 316,000 in 50
billion tokens. Which document is the n-th of a length is looked up on the disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from danlu.corpus.mapped import AT_ONCE, Ints, mapped, scratch

FILES = ("by_length.bin", "lengths.bin")


@dataclass(frozen=True)
class Lengths:
    """Documents by how many tokens they have, end-of-text not counted."""

    order: Ints
    """``[documents]`` their numbers, the shortest first, those of one length rising."""
    lengths: Ints
    """``[D]`` the different lengths, rising."""
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
    def of(cls, starts: Any) -> Lengths:
        """Of documents that begin there."""
        lengths, counts = _counted(starts)
        order = scratch(len(starts) - 1)
        _fill(order, starts, lengths, counts)
        return cls(order, lengths, counts)

    def fits(self, documents: int) -> bool:
        """Whether it can be that of so many documents; the order is not read."""
        rising = bool((np.diff(self.lengths) > 0).all() and (self.lengths >= 0).all() and (self.counts > 0).all())
        return rising and len(self.order) == documents == int(self.counts.sum())


def write_lengths(folder: Path, starts: Any) -> None:
    """Write the files of a store, in memory that does not grow with its documents."""
    lengths, counts = _counted(starts)
    np.stack([lengths, counts], axis=1).astype("<i8").tofile(folder / "lengths.bin")
    path = folder / "by_length.bin"
    path.write_bytes(b"")
    if len(starts) > 1:
        order = np.memmap(path, dtype="<i8", mode="w+", shape=(len(starts) - 1,))
        _fill(order, starts, lengths, counts)
        order.flush()


def _blocks(starts: Any) -> Iterator[tuple[int, Ints]]:
    """The first number and the lengths of many documents at once."""
    for first in range(0, len(starts) - 1, AT_ONCE):
        borders: Ints = np.asarray(starts[first : first + AT_ONCE + 1], dtype=np.int64)
        yield first, borders[1:] - borders[:-1] - 1


def _counted(starts: Any) -> tuple[Ints, Ints]:
    lengths, counts = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    for _, block in _blocks(starts):
        found, times = np.unique(block, return_counts=True)
        merged, places = np.unique(np.concatenate([lengths, found]), return_inverse=True)
        total = np.zeros(len(merged), dtype=np.int64)
        np.add.at(total, places, np.concatenate([counts, times]))
        lengths, counts = merged, total
    return lengths, counts


def _fill(order: Ints, starts: Any, lengths: Ints, counts: Ints) -> None:
    """Counting sort: the documents of a block go behind those of the same length before."""
    free = np.cumsum(counts) - counts
    for first, block in _blocks(starts):
        sort = np.argsort(block, kind="stable")
        which, begins, times = np.unique(block[sort], return_index=True, return_counts=True)
        kinds = np.searchsorted(lengths, which)
        within = np.arange(len(block)) - np.repeat(begins, times)
        order[np.repeat(free[kinds], times) + within] = first + sort
        free[kinds] += times

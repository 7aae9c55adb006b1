"""How long the first side of each pair of texts is: with a document's length it says how long both sides are.

A document of a pair is ``source sep target``; its source is looked for in the text once, when the store is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from danlu.corpus.column import ColumnWriter
from danlu.corpus.mapped import AT_ONCE, Array, Ints, scratch

FILE = "sides.bin"
KIND = np.dtype("<u4")
TOKENS_AT_ONCE = 1 << 24
"""Tokens that are looked through at once, where there is no file."""


class SidesWriter(ColumnWriter):
    """Writes the file of a store, which is there in the end if one of its documents is a pair."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / FILE, KIND)

    def add(self, ids: Array, sep: int | None) -> None:
        """One document; ``sep`` stands between the sides where it is a pair, else it is None."""
        side = 0 if sep is None else int(np.flatnonzero(ids == sep)[0])
        self.append(side, says_something=sep is not None)


def find_sides(tokens: Any, starts: Any, sep: int) -> Array:
    """``[documents]`` tokens before the first ``sep`` of each; 0 where there is none. All tokens are looked through."""
    sides = scratch(len(starts) - 1, KIND)
    for first, last in _blocks(starts):
        borders: Ints = np.asarray(starts[first : last + 1], dtype=np.int64)
        begins, ends = borders[:-1] + 1, borders[1:]
        found = int(borders[0]) + np.flatnonzero(np.asarray(tokens[int(borders[0]) : int(borders[-1])]) == sep)
        nearest = np.append(found, int(borders[-1]))[np.searchsorted(found, begins)]
        sides[first:last] = np.where(nearest < ends, nearest - begins, 0)
    return sides


def sides_fit(sides: Any, lengths: Iterator[Ints]) -> bool:
    """Whether no first side is longer than its document; where there is no file of them, nothing is wrong.

    Args:
        lengths: tokens of each document with its end-of-text, many documents at a time.
    """
    first = 0
    for block in lengths if sides is not None else ():
        if (sides[first : first + len(block)] >= block).any():
            return False
        first += len(block)
    return True


def _blocks(starts: Any) -> list[tuple[int, int]]:
    """Numbers of documents, from one to another, that have about ``TOKENS_AT_ONCE`` tokens together, or are one."""
    found, first, count = [], 0, len(starts) - 1
    while first < count:
        reach = int(starts[first]) + TOKENS_AT_ONCE
        last = int(np.searchsorted(starts[first + 1 : first + 1 + AT_ONCE], reach, side="right"))
        found.append((first, min(count, first + max(1, last))))
        first = found[-1][1]
    return found

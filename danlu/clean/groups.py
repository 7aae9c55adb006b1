"""How many documents are repeated by others: a byte a document on disk for each reason, in whatever order they come."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 1 << 24


class Groups:
    """Marks of the documents that others repeat.

    Args:
        folder: an empty one, for files of its own.
        documents: how many there are.
    """

    def __init__(self, folder: Path, documents: int) -> None:
        self._folder, self._documents = folder, documents
        self._marks: dict[str, np.memmap[tuple[int], np.dtype[np.bool_]]] = {}

    def add(self, reason: str, firsts: NDArray[np.int64]) -> None:
        """Mark the documents with these numbers, which others repeat."""
        if reason not in self._marks:
            path = self._folder / str(len(self._marks))
            self._marks[reason] = np.memmap(path, np.bool_, "w+", shape=(max(1, self._documents),))
        self._marks[reason][firsts] = True

    def counts(self) -> dict[str, int]:
        """By reason, how many there are."""
        starts = range(0, self._documents, _AT_ONCE)
        return {
            reason: sum(int(marks[start : start + _AT_ONCE].sum()) for start in starts)
            for reason, marks in sorted(self._marks.items())
        }

"""A number for each document of a store, written one after the other while the store is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

KEPT = 1 << 12
"""Numbers that are held until they are written."""


class ColumnWriter:
    """Writes a file of one number a document, which is there in the end if it says something of one of them."""

    def __init__(self, path: Path, kind: np.dtype[Any]) -> None:
        self._says_something = False
        self._path = path
        self._kind = kind
        self._file = path.open("wb")
        self._numbers: list[int] = []

    def append(self, number: int, *, says_something: bool) -> None:
        """The number of the next document; where it ``says_something`` the file is kept."""
        self._says_something |= says_something
        self._numbers.append(number)
        if len(self._numbers) == KEPT:
            self._flush()

    def _flush(self) -> None:
        self._file.write(np.array(self._numbers, dtype=self._kind).tobytes())
        self._numbers = []

    def close(self) -> None:
        """All that was appended is in the file then, or there is none."""
        if self._file.closed:
            return
        self._flush()
        self._file.close()
        if not self._says_something:
            self._path.unlink()

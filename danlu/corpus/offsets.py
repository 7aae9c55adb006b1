"""At which byte of its file the record of each document begins: a column of a store, for those who trace a text."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from danlu.corpus.mapped import Ints, mapped
from danlu.text.document import OFFSET, Document

FILE = "offsets.bin"
KIND = np.dtype("<i8")
NOWHERE = -1
"""In place of the byte, where a format has no such places."""
KEPT_OFFSETS = 1 << 12


class OffsetsWriter:
    """Writes the column of a store, which is there in the end if one of its documents has a place."""

    def __init__(self, folder: Path) -> None:
        self._any = False
        self._path = folder / FILE
        self._file = self._path.open("wb")
        self._offsets: list[int] = []

    def add(self, document: Document) -> None:
        """One document."""
        told = document.meta.get(OFFSET, "")
        # Whoever wrote the documents by hand may mean anything by a field of that name.
        offset = int(told) if told.isdecimal() and told.isascii() and len(told) <= 18 else NOWHERE
        self._any = self._any or offset != NOWHERE
        self._offsets.append(offset)
        if len(self._offsets) == KEPT_OFFSETS:
            self._flush()

    def _flush(self) -> None:
        self._file.write(np.array(self._offsets, dtype=KIND).tobytes())
        self._offsets = []

    def close(self) -> None:
        """All that was added is in the file then, or there is none."""
        if self._file.closed:
            return
        self._flush()
        self._file.close()
        if not self._any:
            self._path.unlink()


def offsets_in(folder: Path, documents: int) -> Ints:
    """``[documents]`` of the store in ``folder``; ``NOWHERE`` where it does not say."""
    path = folder / FILE
    return mapped(path, KIND) if path.exists() else np.full(documents, NOWHERE, dtype=KIND)

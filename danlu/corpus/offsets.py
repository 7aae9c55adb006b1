"""At which byte of its file the record of each document begins: a column of a store, for those who trace a text."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from danlu.corpus.column import ColumnWriter
from danlu.corpus.mapped import Ints, mapped
from danlu.text.document import OFFSET, Document

FILE = "offsets.bin"
KIND = np.dtype("<i8")
NOWHERE = -1
"""In place of the byte, where a format has no such places."""


class OffsetsWriter(ColumnWriter):
    """Writes the column of a store, which is there in the end if one of its documents has a place."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / FILE, KIND)

    def add(self, document: Document) -> None:
        """One document."""
        told = document.meta.get(OFFSET, "")
        # Whoever wrote the documents by hand may mean anything by a field of that name.
        offset = int(told) if told.isdecimal() and told.isascii() and len(told) <= 18 else NOWHERE
        self.append(offset, says_something=offset != NOWHERE)


def offsets_in(folder: Path, documents: int) -> Ints:
    """``[documents]`` of the store in ``folder``; ``NOWHERE`` where it does not say."""
    path = folder / FILE
    return mapped(path, KIND) if path.exists() else np.full(documents, NOWHERE, dtype=KIND)

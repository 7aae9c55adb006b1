"""The numbers of all documents of all drafts, in order, and which one a number means."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from danlu.clean.drafts import Draft
from danlu.text.document import Document
from danlu.workers.drafts import FOLDER

KEPT = 64
"""Portions whose places are held in memory."""


@dataclass(frozen=True)
class Numbering:
    """Finds a document by its number without reading others."""

    out: Path
    firsts: tuple[int, ...]
    """The number of the first document of each portion; last, how many there are."""
    _kept: dict[Draft, np.ndarray[Any, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, out: Path) -> Numbering:
        """Of all drafts below ``out``."""
        folders = sorted((out / FOLDER).glob("[0-9]*"), key=lambda folder: int(folder.name))
        lengths = [len(Draft(folder)) for folder in folders]
        return cls(out, (0, *np.cumsum(lengths, dtype=np.int64).tolist()))

    def document(self, number: int) -> Document:
        """The document with that number, as its draft has it."""
        portion = bisect_right(self.firsts, number) - 1
        draft = Draft.of(self.out, portion)
        with draft.documents.open("rb") as file:
            file.seek(int(self._offsets(draft)[number - self.firsts[portion]]))
            return Document.from_line(file.readline())

    def _offsets(self, draft: Draft) -> np.ndarray[Any, Any]:
        if draft not in self._kept:
            if len(self._kept) >= KEPT:
                self._kept.clear()
            self._kept[draft] = np.ascontiguousarray(draft.table()["offset"])
        return self._kept[draft]

"""The numbers of all documents of all drafts, in order, and which one a number means."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from danlu.clean.drafts import Draft
from danlu.text.document import Document


@dataclass(frozen=True)
class Numbering:
    """Finds a document by its number without reading others."""

    out: Path
    firsts: tuple[int, ...]
    """The number of the first document of each portion; last, how many there are."""

    @classmethod
    def of(cls, out: Path) -> Numbering:
        """Of all drafts below ``out``."""
        lengths = [len(Draft(folder).table()) for folder in sorted((out / "drafts").glob("[0-9]*"))]
        return cls(out, (0, *np.cumsum(lengths, dtype=np.int64).tolist()))

    def id(self, number: int) -> str:
        """The id of the document with that number."""
        portion = bisect_right(self.firsts, number) - 1
        draft = Draft.of(self.out, portion)
        with draft.documents.open("rb") as file:
            file.seek(int(_offsets(draft)[number - self.firsts[portion]]))
            return Document.from_line(file.readline()).id


@lru_cache(maxsize=64)
def _offsets(draft: Draft) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(draft.table()["offset"])

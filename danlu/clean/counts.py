"""What went in, what came out, and what became of the rest: counted a portion at a time, and added up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any, Self

import numpy as np

from danlu.runs import Figures


@dataclass(slots=True)
class Counts:
    """Numbers of documents, and of records that could not be read; sums of counts are counts."""

    documents_in: int = 0
    kept: int = 0
    characters: int = 0
    bytes: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)
    language_documents: Counter[str] = field(default_factory=Counter)
    language_bytes: Counter[str] = field(default_factory=Counter)
    encodings: Counter[str] = field(default_factory=Counter)
    """Documents that came in by what they were in, where that is not UTF-8."""

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    def keep(self, table: np.ndarray[Any, Any]) -> None:
        """Count documents that stay, by a table with their ``characters``, ``bytes`` and ``language``."""
        self.kept += len(table)
        self.characters += int(table["characters"].sum())
        self.bytes += int(table["bytes"].sum())
        for language in np.unique(table["language"]):
            here = table["language"] == language
            self.language_documents[language.decode()] += int(here.sum())
            self.language_bytes[language.decode()] += int(table["bytes"][here].sum())

    def check(self) -> None:
        """Hold the promise that nothing goes missing."""
        accounted = self.kept + self.dropped.total() + self.quarantined.total()
        assert self.documents_in == accounted, (self.documents_in, accounted)

    def summary(self) -> str:
        """In words: ``of 3 records 1 kept, 1 dropped (empty 1), 1 quarantined (not UTF-8 1)``."""
        parts = [f"of {self.documents_in} records {self.kept} kept"]
        for title, counter in (("dropped", self.dropped), ("quarantined", self.quarantined)):
            if counter:
                reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(counter.items()))
                parts.append(f"{counter.total()} {title} ({reasons})")
        return ", ".join(parts)

    def drops(self) -> dict[str, Any]:
        """What ``drops.json`` holds."""
        return {
            "in": self.documents_in,
            "kept": self.kept,
            "dropped": dict(sorted(self.dropped.items())),
            "quarantined": dict(sorted(self.quarantined.items())),
        }

    def figures(self) -> Figures:
        """A flat table, reasons and languages sorted."""
        figures: Figures = {
            "documents_in": self.documents_in,
            "documents_kept": self.kept,
            "documents_dropped": self.dropped.total(),
            "documents_quarantined": self.quarantined.total(),
            "characters": self.characters,
            "bytes": self.bytes,
        }
        for title, counter in (("dropped", self.dropped), ("quarantined", self.quarantined)):
            figures.update({f"{title}.{reason}": count for reason, count in sorted(counter.items())})
        figures.update({f"encoding.{name}.documents": count for name, count in sorted(self.encodings.items())})
        for language in sorted(self.language_documents):
            figures[f"language.{language}.documents"] = self.language_documents[language]
            figures[f"language.{language}.bytes"] = self.language_bytes[language]
        return figures

    def to_json(self) -> dict[str, Any]:
        """For a file that :meth:`from_json` reads."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def from_json(cls, read: dict[str, Any]) -> Self:
        """What :meth:`to_json` gave."""
        values: dict[str, Any] = {
            name: Counter(value) if isinstance(value, dict) else value for name, value in read.items()
        }
        return cls(**values)

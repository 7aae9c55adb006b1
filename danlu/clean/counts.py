"""What went in, what came out, and what became of the rest: counted a portion at a time, and added up.

All are whole numbers, and sums of counts are counts: in whatever order they are added.
What they take depends on how many reasons, languages and encodings there are, not on how many documents.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, Self

import numpy as np

from danlu.clean.lengths import bins_of
from danlu.stage import Figures


class Size(NamedTuple):
    """How much text there is."""

    characters: int
    bytes: int

    @classmethod
    def of(cls, text: str) -> Self:
        """Of ``text``, in UTF-8."""
        return cls(len(text), len(text) if text.isascii() else len(text.encode()))


@dataclass(slots=True)
class Counts:
    """Numbers of documents, and of records that could not be read; sums of counts are counts."""

    records: int = 0
    """What the readers gave, good and bad; a record that is cut may hold many documents."""
    documents_in: int = 0
    """Documents that came, and records that could not be read."""
    kept: int = 0
    characters: int = 0
    """Of what is kept, as it is written."""
    bytes: int = 0
    characters_in: int = 0
    """Of all documents, normalised, before any rule."""
    bytes_in: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    dropped_characters: Counter[str] = field(default_factory=Counter)
    """As they came, by reason."""
    quarantined: Counter[str] = field(default_factory=Counter)
    language_documents: Counter[str] = field(default_factory=Counter)
    language_characters: Counter[str] = field(default_factory=Counter)
    language_bytes: Counter[str] = field(default_factory=Counter)
    language_documents_in: Counter[str] = field(default_factory=Counter)
    """By the language that was named last: of what is kept and of what is dropped."""
    language_characters_in: Counter[str] = field(default_factory=Counter)
    lengths_kept: Counter[str] = field(default_factory=Counter)
    """Documents by language and bin of their length as it is written: ``en 125``."""
    lengths_dropped: Counter[str] = field(default_factory=Counter)
    """The same of those that were dropped, as they came."""
    encodings: Counter[str] = field(default_factory=Counter)
    """Documents that came in by what they were in, where that is not UTF-8."""

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    def keep(self, table: np.ndarray[Any, Any]) -> None:
        """Count documents that stay, by a table with their ``language`` and sizes, now and as they came."""
        self.kept += len(table)
        self.characters += int(table["characters"].sum())
        self.bytes += int(table["bytes"].sum())
        self.characters_in += int(table["characters_in"].sum())
        self.bytes_in += int(table["bytes_in"].sum())
        for code in np.unique(table["language"]):
            here, language = table[table["language"] == code], code.decode()
            self.language_documents[language] += len(here)
            self.language_documents_in[language] += len(here)
            self.language_characters[language] += int(here["characters"].sum())
            self.language_characters_in[language] += int(here["characters_in"].sum())
            self.language_bytes[language] += int(here["bytes"].sum())
            for start, count in bins_of(here["characters"]).items():
                self.lengths_kept[f"{language} {start}"] += count

    def drop(self, reason: str, language: str, came: Size) -> None:
        """Count a document that does not stay, by its size as it came."""
        self.dropped[reason] += 1
        self.dropped_characters[reason] += came.characters
        self.characters_in += came.characters
        self.bytes_in += came.bytes
        self.language_documents_in[language] += 1
        self.language_characters_in[language] += came.characters
        (start,) = bins_of(np.array([came.characters]))
        self.lengths_dropped[f"{language} {start}"] += 1

    def check(self) -> None:
        """Hold the promise that nothing goes missing.

        Raises:
            AssertionError: it was broken, which is a bug; also where Python leaves assertions out.
        """
        documents = self.kept + self.dropped.total()
        for what, one, other in (
            ("in, and what became of it", self.documents_in, documents + self.quarantined.total()),
            ("by language, and all", self.language_documents_in.total(), documents),
            ("characters by language, and all", self.language_characters_in.total(), self.characters_in),
            ("kept by length, and all", self.lengths_kept.total(), self.kept),
            ("dropped by length, and all", self.lengths_dropped.total(), self.dropped.total()),
        ):
            if one != other:
                raise AssertionError(f"clean lost count: {what}: {one:,} and {other:,}; {self.summary()}")

    @property
    def characters_cut(self) -> int:
        """What rules and duplicates took out of documents that are kept; masks may make it less than nothing."""
        return self.characters_in - self.dropped_characters.total() - self.characters

    def lengths(self, language: str | None = None) -> tuple[Counter[int], Counter[int]]:
        """How many documents each bin of lengths has, kept ones and dropped ones; of one language, or of all."""
        both = []
        for counter in (self.lengths_kept, self.lengths_dropped):
            found: Counter[int] = Counter()
            for key, count in counter.items():
                code, start = key.split(" ")
                if language in (None, code):
                    found[int(start)] += count
            both.append(found)
        return both[0], both[1]

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

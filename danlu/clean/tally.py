"""All that is known of a cleaning when it ends: counts by part of the sources, and examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from danlu.clean.counts import Counts
from danlu.clean.groups import Groups
from danlu.clean.samples import Examples
from danlu.clean.source_parts import SourcePart


@dataclass(slots=True)
class Tally:
    """What became of everything; portions are added in any order."""

    parts: Sequence[SourcePart]
    groups: Groups
    by_part: dict[int, Counts] = field(default_factory=dict)
    dropped: Examples = field(default_factory=Examples)
    kept: Examples = field(default_factory=Examples.of_kept)

    def add(self, counts: dict[int, Counts]) -> None:
        """Count one more portion."""
        for part, more in counts.items():
            self.by_part[part] = self.by_part.get(part, Counts()) + more

    def total(self) -> Counts:
        """Of all parts."""
        return sum((self.by_part[part] for part in sorted(self.by_part)), Counts())

    def sources(self) -> list[tuple[SourcePart, Counts]]:
        """Each part of the sources with what became of it, in the order of the recipe."""
        return [(part, self.by_part.get(number, Counts())) for number, part in enumerate(self.parts)]

    def to_json(self) -> dict[str, Any]:
        """What ``counts.json`` holds."""
        total, groups = self.total(), self.groups.counts()
        return {
            **_counts_json(total),
            "encodings": _sorted(total.encodings),
            "duplicates": {
                reason: {"documents": total.dropped[reason], "groups": count} for reason, count in groups.items()
            },
            "languages": {
                language: _language_json(total, language) for language in sorted(total.language_documents_in)
            },
            "sources": [
                {"source": part.source, "part": part.name, "files": part.files, **_counts_json(counts)}
                for part, counts in self.sources()
            ],
        }


def _counts_json(counts: Counts) -> dict[str, Any]:
    return {
        "records": counts.records,
        **counts.drops(),
        "characters": {
            "in": counts.characters_in,
            "kept": counts.characters,
            "dropped": _sorted(counts.dropped_characters),
            "cut": counts.characters_cut,
        },
        "bytes": {"in": counts.bytes_in, "kept": counts.bytes},
    }


def _language_json(counts: Counts, language: str) -> dict[str, Any]:
    kept, dropped = counts.lengths(language)
    return {
        "documents": {"in": counts.language_documents_in[language], "kept": counts.language_documents[language]},
        "characters": {"in": counts.language_characters_in[language], "kept": counts.language_characters[language]},
        "bytes": {"kept": counts.language_bytes[language]},
        "lengths": {
            name: {str(start): count for start, count in sorted(lengths.items())}
            for name, lengths in (("kept", kept), ("dropped", dropped))
        },
    }


def _sorted(counter: Counter[str]) -> dict[str, int]:
    return dict(sorted(counter.items()))

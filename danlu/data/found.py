"""A finding: something that may be wrong with the data, in a line, with places to look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from danlu.data.example import TaskExample
from danlu.errors import shown

FindingKind = Literal[
    "duplicate", "near_duplicate", "contained", "shared_group", "repeated", "conflict", "near_conflict", "typo", "rare",
    "imbalance", "missing_label", "placeholder", "told", "telling", "far", "entity", "tag",
]  # fmt: skip
EXAMPLES = 3
"""How many are named in a line."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found, how often, and where."""

    kind: FindingKind
    splits: tuple[str, ...]
    """Those that it is in; of a leak, the one that is spoilt last."""
    count: int
    of: int
    """How many examples were looked at; of entities and tags how many of these."""
    what: str
    """In words, without the examples."""
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        named = "; ".join(self.examples[:EXAMPLES])
        more = "; …" if len(self.examples) > EXAMPLES else ""
        return f"{', '.join(self.splits[-1:])}: {self.what}{': ' if named else ''}{named}{more}"


def quoted(example: TaskExample) -> str:
    """An example in a few words, with its place."""
    return f"{shown(' ⏎ '.join(' '.join(text.split()) for text in example.texts))!r} ({example.place.short})"


def share_of(count: int, of: int) -> str:
    """``37 of 1,000 examples (3.7%)``."""
    return f"{count:,} of {of:,} examples ({count / of:.1%})"

"""A few documents of each reason to drop, for people to read: chosen by a hash of their ids, so always the same."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from danlu.text.document import Document

EACH = 20
"""Examples of a reason."""
LONGEST = 4000
"""Characters of a text that are shown, its first ones."""


@dataclass(frozen=True, slots=True, order=True)
class Example:
    """A document that was dropped; ``order`` is as good as random, and the same each time."""

    reason: str
    order: str
    id: str
    language: str
    text: str

    @classmethod
    def of(cls, document: Document, reason: str) -> Self:
        order = hashlib.blake2b(document.id.encode(), digest_size=8).hexdigest()
        text = "" if reason.startswith("private") else document.text[:LONGEST]  # which is why it was dropped
        return cls(reason, order, document.id, document.meta["language"], text)


class Examples:
    """The first ``EACH`` of each reason, by their order; takes in any number."""

    def __init__(self) -> None:
        self._by_reason: dict[str, list[Example]] = {}

    def add(self, example: Example) -> None:
        """Keep it where it is among the first."""
        kept = self._by_reason.setdefault(example.reason, [])
        kept.append(example)
        if len(kept) >= 4 * EACH:
            kept[:] = heapq.nsmallest(EACH, kept)

    def __iter__(self) -> Iterator[Example]:
        for _, kept in sorted(self._by_reason.items()):
            yield from heapq.nsmallest(EACH, kept)


def write_examples(path: Path, examples: Iterable[Example]) -> None:
    """One JSON object a line."""
    path.write_text("".join(json.dumps(asdict(each), ensure_ascii=False) + "\n" for each in examples), encoding="utf-8")


def read_examples(path: Path) -> Iterator[Example]:
    """What :func:`write_examples` wrote."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield Example(**json.loads(line))

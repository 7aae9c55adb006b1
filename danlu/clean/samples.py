"""A few documents of each reason to drop, and of what is kept, for people to read.

They are chosen by a hash of their ids, so they are always the same, whatever the order in which documents come.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from danlu.files import atomic_write
from danlu.text.document import Document

EACH = 20
"""Examples of a reason."""
EACH_KEPT = 3
"""Examples of what is kept, of a language and about one length."""
LONGEST = 4000
"""Characters of a text that are shown, its first ones."""
KEPT = "kept"


@dataclass(frozen=True, slots=True, order=True)
class Example:
    """A document that was dropped, or kept; ``order`` is as good as random, and the same each time."""

    reason: str
    order: str
    id: str
    language: str
    text: str
    characters: int
    """Of the whole text."""
    of: str = ""
    """The document that it repeats, and the beginning of that one's text."""
    of_text: str = ""
    of_characters: int = 0

    @classmethod
    def of_document(cls, document: Document, reason: str, *, characters: int, of: Document | None = None) -> Self:
        text = "" if reason.startswith("private") else document.text[:LONGEST]  # which is why it was dropped
        repeated = () if of is None else (of.id, of.text[:LONGEST], len(of.text))
        return cls(reason, order_of(document.id), document.id, document.meta["language"], text, characters, *repeated)


def order_of(id: str) -> str:
    """As good as random, and the same each time."""
    return hashlib.blake2b(id.encode(), digest_size=8).hexdigest()


def stratum(language: str, characters: int) -> str:
    """What documents have in common that are alike: their language, and about how long they are."""
    return f"{language} {characters.bit_length() // 2}"


class Examples:
    """The first ``each`` of each reason, or of what ``by`` says, by their order; takes in any number."""

    def __init__(self, each: int = EACH, by: Callable[[Example], str] = lambda example: example.reason) -> None:
        self._each, self._by = each, by
        self._found: dict[str, list[Example]] = {}
        self._last: dict[str, str] = {}

    @classmethod
    def of_kept(cls) -> Self:
        """A few of each language and length."""
        return cls(EACH_KEPT, lambda example: stratum(example.language, example.characters))

    def wants(self, key: str, order: str) -> bool:
        """Whether an example with that reason, or what ``by`` says, and that order may be among the first."""
        return order <= self._last.get(key, order)

    def add(self, example: Example) -> None:
        """Keep it where it is among the first."""
        key = self._by(example)
        found = self._found.setdefault(key, [])
        found.append(example)
        if len(found) >= 4 * self._each:
            found[:] = heapq.nsmallest(self._each, found)
            self._last[key] = found[-1].order

    def __iter__(self) -> Iterator[Example]:
        for _, found in sorted(self._found.items()):
            yield from heapq.nsmallest(self._each, found)


def write_examples(path: Path, examples: Iterable[Example]) -> None:
    """One JSON object a line."""
    atomic_write(path, "".join(json.dumps(asdict(each), ensure_ascii=False) + "\n" for each in examples).encode())


def read_examples(path: Path) -> Iterator[Example]:
    """What :func:`write_examples` wrote."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield Example(**json.loads(line))

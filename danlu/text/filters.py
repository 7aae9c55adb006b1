"""Rules that drop documents: ``Filter = Callable[[Document], str | None]``, the reason or None.

To add one, write its settings and its rule here and add a line to the catalog. Settings are frozen;
what a rule remembers between documents lives in the filter that ``make`` returns, fresh for each run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Protocol

from danlu.recipe import Choice
from danlu.text.document import Document

Filter = Callable[[Document], str | None]


class FilterChoice(Protocol):
    """Settings of a rule."""

    def make(self) -> Filter:
        """A filter that has seen no document yet."""


class Empty(Choice):
    """Drop documents of white space alone."""

    def make(self) -> Filter:
        return lambda document: None if document.text.strip() else "empty"


class ExactDuplicate(Choice):
    """Drop every document whose text has been seen before; the first one stays.

    Remembers 16 bytes a document: with the set around them, 75 MB a million documents.
    """

    def make(self) -> Filter:
        seen: set[bytes] = set()

        def drop(document: Document) -> str | None:
            digest = hashlib.blake2b(document.text.encode(), digest_size=16).digest()
            if digest in seen:
                return "exact duplicate"
            seen.add(digest)
            return None

        return drop

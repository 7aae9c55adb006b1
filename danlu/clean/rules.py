"""Rules for one document: ``Rule = Callable[[Document], str | None]``, why it is dropped, or None.

To add one, write its settings and its rule here and add a line to the catalog. Settings are frozen;
what a rule remembers between documents lives in the rule that ``make`` returns, fresh for each run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Protocol

from danlu.recipe import Choice
from danlu.text.document import Document

Rule = Callable[[Document], str | None]
"""Why the document is dropped, or None; a rule may change its text and what ``meta`` says before it answers."""


class RuleChoice(Protocol):
    """Settings of a rule.

    It may also have ``external_files() -> list[Path]``, the files that it reads, and ``notes() -> list[str]``, lines
    that the user is told once before a run.
    """

    def make(self) -> Rule:
        """A rule that has seen no document yet."""


class Empty(Choice):
    """Drop documents of white space alone."""

    def make(self) -> Rule:
        return lambda document: None if document.text.strip() else "empty"


class ExactDuplicate(Choice):
    """Drop every document whose text has been seen before; the first one stays.

    Remembers 16 bytes a document: with the set around them, 75 MB a million documents.
    """

    def make(self) -> Rule:
        seen: set[bytes] = set()

        def drop(document: Document) -> str | None:
            digest = hashlib.blake2b(document.text.encode(), digest_size=16).digest()
            if digest in seen:
                return "exact duplicate"
            seen.add(digest)
            return None

        return drop

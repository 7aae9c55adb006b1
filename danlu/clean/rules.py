"""Rules for one document: ``Rule = Callable[[Document], str | None]``, why it is dropped, or None.

To add one, write its settings and its rule here and add a line to the catalog. Settings are frozen;
what is costly to have, such as a list of words, is made in ``make``, once a process. A rule looks at one document at a
time and remembers none: what compares documents stands in ``duplicates.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from danlu.recipe import Choice
from danlu.text.document import Document

Rule = Callable[[Document], str | None]
"""Why the document is dropped, or None; a rule may change its text and what ``meta`` says before it answers."""


class RuleChoice(Protocol):
    """Settings of a rule.

    It may also have ``external_files() -> list[Path]``, the files that it reads. One that has to learn first is a
    :class:`~danlu.clean.learned.LearningChoice`.
    """

    def make(self) -> Rule:
        """The rule, ready."""


class Empty(Choice):
    """Drop documents of white space alone."""

    def make(self) -> Rule:
        return lambda document: None if document.text.strip() else "empty"

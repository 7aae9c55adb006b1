"""Texts that another text is made from: translations, summaries, titles, keywords."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from danlu.data import names
from danlu.data.columns import Field
from danlu.data.example import Place
from danlu.data.form import Cells, Form
from danlu.errors import shown

_BETWEEN_KEYWORDS = re.compile(r"[;；、,，|\n_]")


@dataclass(frozen=True, slots=True)
class Generated:
    """A source, and the texts that are right for it; None where the file did not say."""

    place: Place
    source: str
    references: tuple[str, ...] | None

    @property
    def target(self) -> str | None:
        """What is learned: the first of the references."""
        return self.references[0] if self.references else None

    @property
    def texts(self) -> tuple[str, ...]:
        return (self.source,)

    @property
    def group(self) -> str:
        return self.source

    @property
    def labels(self) -> tuple[str, ...]:
        return ()

    @property
    def gold(self) -> tuple[str, ...] | None:
        return self.references


@dataclass(frozen=True, slots=True)
class Described:
    """A source and its keywords, in the file's order."""

    place: Place
    source: str
    keywords: tuple[str, ...] | None

    @property
    def texts(self) -> tuple[str, ...]:
        return (self.source,)

    @property
    def group(self) -> str:
        return self.source

    @property
    def labels(self) -> tuple[str, ...]:
        return ()

    @property
    def gold(self) -> tuple[str, ...] | None:
        return self.keywords


def _generated(cells: Cells) -> Generated:
    source = cells.text("source")
    if cells.has("references"):
        return Generated(cells.place, source, _with_target(cells, cells.texts("references")))
    if not cells.gold and not cells.has("target"):
        return Generated(cells.place, source, None)
    if "target" not in cells.columns:
        raise cells.error("references", "is missing")
    return Generated(cells.place, source, cells.texts("target"))


def _with_target(cells: Cells, references: tuple[str, ...]) -> tuple[str, ...]:
    """The references, that which is learned first."""
    if not cells.has("target"):
        return references
    target = cells.text("target")
    return (target, *(each for each in references if each != target))


def _described(cells: Cells) -> Described:
    source = cells.text("source")
    if not cells.gold and not cells.has("keywords"):
        return Described(cells.place, source, None)
    value = cells.value("keywords")
    words = _keywords(value) if isinstance(value, str) else value
    if not isinstance(words, list) or not words:
        raise cells.error("keywords", f"must be a list of texts, or a text that ; or , parts; got {shown(repr(value))}")
    return Described(cells.place, source, tuple(dict.fromkeys(cells.checked("keywords", word) for word in words)))


def _keywords(cell: str) -> list[Any]:
    if cell.lstrip().startswith("["):
        try:
            value = json.loads(cell)
        except ValueError:
            value = None
        if isinstance(value, list):
            return value
    return [part.strip() for part in _BETWEEN_KEYWORDS.split(cell) if part.strip()]


_SOURCE = Field("source", names.SOURCE, "texts")

GENERATE = Form(
    "generate",
    (
        _SOURCE,
        Field("target", names.TARGET, "texts", gold=True),
        Field("references", names.REFERENCES, gold=True, required=False),
    ),
    _generated,
)
KEYWORDS = Form("keywords", (_SOURCE, Field("keywords", names.KEYWORDS, "texts", gold=True)), _described)

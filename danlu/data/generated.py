"""Texts that another text is made from: translations, summaries, titles, keywords."""

from __future__ import annotations

from dataclasses import dataclass

from danlu.data import names
from danlu.data.columns import Field
from danlu.data.example import Record
from danlu.data.form import Cells, Form
from danlu.data.parted import WORDS, part_alone
from danlu.errors import shown


@dataclass(frozen=True, slots=True)
class Generated(Record):
    """A source, and the texts that are right for it; None where the file did not say."""

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
    def gold(self) -> tuple[str, ...] | None:
        return self.references


@dataclass(frozen=True, slots=True)
class Described(Record):
    """A source and its keywords, in the file's order."""

    source: str
    keywords: tuple[str, ...] | None

    @property
    def texts(self) -> tuple[str, ...]:
        return (self.source,)

    @property
    def gold(self) -> tuple[str, ...] | None:
        return self.keywords


def _generated(cells: Cells) -> Generated:
    source = cells.text("source")
    if cells.has("references"):
        references = cells.several("references", cells.listed("references"))
        return Generated(cells.place, source, _with_target(cells, references))
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
    words = cells.parted("keywords", lambda cell: part_alone(cell, WORDS))
    if not isinstance(words, list) or not words:
        got = shown(repr(cells.value("keywords")))
        raise cells.error("keywords", f"must be a list of texts, or a text that ; or , parts; got {got}")
    return Described(cells.place, source, tuple(dict.fromkeys(cells.checked("keywords", word) for word in words)))


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
KEYWORDS = Form(
    "keywords", (_SOURCE, Field("keywords", names.KEYWORDS, "texts", gold=True)), _described, parted=("keywords", WORDS)
)

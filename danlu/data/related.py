"""Relations between two entities that are marked in a text."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from danlu.data import names
from danlu.data.columns import Field
from danlu.data.example import Record
from danlu.data.form import Cells, Form
from danlu.errors import shown

HEAD, TAIL = ("[E1]", "[/E1]"), ("[E2]", "[/E2]")
Span = tuple[int, int]
"""The first character, and the one behind the last."""
_INLINE = re.compile(r"<(/?)(e1|e2)>")


@dataclass(frozen=True, slots=True)
class Relation(Record):
    """Two parts of a text, and how they are related; None where the file did not say."""

    text: str
    head: Span
    tail: Span
    label: str | None
    head_type: str | None = None
    """What kind of entity it is, where the file says so: PER, place, …"""
    tail_type: str | None = None

    def marked(self, head: tuple[str, str] = HEAD, tail: tuple[str, str] = TAIL) -> str:
        """The text with marks around both entities (Baldini Soares et al. 2019, arXiv:1906.03158)."""
        marks = [(*self.head, head), (*self.tail, tail)]
        text = self.text
        for start, end, (before, behind) in sorted(marks, reverse=True):
            text = f"{text[:start]}{before} {text[start:end]} {behind}{text[end:]}"
        return text

    @property
    def texts(self) -> tuple[str, ...]:
        return (self.marked(),)

    @property
    def group(self) -> str:
        return self.text

    @property
    def labels(self) -> tuple[str, ...]:
        return () if self.label is None else (self.label,)

    @property
    def gold(self) -> str | None:
        return self.label


def _relation(cells: Cells) -> Relation:
    text, head, tail = _spans(cells)
    if max(head[0], tail[0]) < min(head[1], tail[1]):
        first, second = text[slice(*head)], text[slice(*tail)]
        raise cells.place.error(f"head {shown(first)!r} and tail {shown(second)!r} overlap")
    return Relation(cells.place, text, head, tail, cells.label("label"), _type(cells, "head"), _type(cells, "tail"))


def _type(cells: Cells, field: str) -> str | None:
    """The kind of an entity: of its own column, or beside its name."""
    if cells.has(f"{field}_type"):
        return cells.label(f"{field}_type")
    value = cells.listed(field)
    kind = value.get("type") if isinstance(value, Mapping) else None
    return None if kind is None else cells.checked(field, kind)


def _spans(cells: Cells) -> tuple[str, Span, Span]:
    """The text and both entities: marked in it (<e1>…</e1>), by token (TACRED), or by name and offset."""
    value = cells.value("text")
    if isinstance(value, list):
        return _of_tokens(cells, value)
    text = cells.text("text")
    if "<e1>" in text or "<e2>" in text:
        return _inline(cells, text)
    if not (cells.has("head") and cells.has("tail")):
        raise cells.error("text", "has no entities: mark them <e1>…</e1> and <e2>…</e2>, or name columns head and tail")
    return text, _found(cells, text, "head"), _found(cells, text, "tail")


def _inline(cells: Cells, marked: str) -> tuple[str, Span, Span]:
    text, before, places = "", 0, {}
    for mark in _INLINE.finditer(marked):
        text += marked[before : mark.start()]
        if mark[0] in places:
            raise cells.error("text", f"has {mark[0]} twice")
        places[mark[0]] = len(text)
        before = mark.end()
    text += marked[before:]
    spans = []
    for name in ("e1", "e2"):
        start, end = places.get(f"<{name}>"), places.get(f"</{name}>")
        if start is None or end is None or start >= end:
            raise cells.error("text", f"must have one <{name}>…</{name}> around something")
        spans.append((start, end))
    return text, spans[0], spans[1]


def _of_tokens(cells: Cells, value: list[Any]) -> tuple[str, Span, Span]:
    tokens = [cells.checked("text", token) for token in value]
    starts, ends, length = [], [], 0
    for token in tokens:
        starts.append(length)
        ends.append(length + len(token))
        length = ends[-1] + 1
    spans = []
    for name in ("subj", "obj"):
        bounds = []
        for side in ("start", "end"):
            place = cells.row.cells.get(f"{name}_{side}")
            if not isinstance(place, int) or isinstance(place, bool) or not 0 <= place < len(tokens):
                reason = f"must be a token from 0 to {len(tokens) - 1}; got {shown(repr(place))}"
                raise cells.place.error(f"{name}_{side} {reason}")
            bounds.append(place)
        if bounds[0] > bounds[1]:
            raise cells.place.error(f"{name}_start {bounds[0]} is behind {name}_end {bounds[1]}")
        spans.append((starts[bounds[0]], ends[bounds[1]]))
    return " ".join(tokens), spans[0], spans[1]


def _found(cells: Cells, text: str, field: str) -> Span:
    """Where an entity stands: by its offset, or where its name does, which must be once."""
    value = cells.listed(field)
    if isinstance(value, Mapping):
        name = cells.checked(field, value.get("name", value.get("text", value.get("word"))))
        bounds = value.get("pos", [value.get("start"), value.get("end")])
        if isinstance(bounds, list) and len(bounds) == 2 and all(isinstance(each, int) for each in bounds):
            if bounds[0] >= 0 and text[bounds[0] : bounds[1]] == name:
                return bounds[0], bounds[1]
            there = text[max(0, bounds[0]) : max(0, bounds[1])]
            at = f"; it is at {text.find(name)}" if text.count(name) == 1 else ""
            said = f"{shown(name)!r} is not at {bounds[0]} to {bounds[1]}, where {shown(there)!r} stands"
            raise cells.error(field, f"{said}{at}")
    else:
        name = cells.text(field)
    count = text.count(name)
    if count != 1:
        hint = "does not occur in the text" if not count else f"occurs {count} times in the text; say where"
        raise cells.error(field, f"{shown(name)!r} {hint}")
    return text.index(name), text.index(name) + len(name)


def _places(columns: Collection[str]) -> Collection[str]:
    """TACRED's columns that say where entities are, by token."""
    return [name for name in ("subj_start", "subj_end", "obj_start", "obj_end") if name in columns]


RELATE = Form(
    "relate",
    (
        Field("text", (*names.TEXT, "token", "tokens"), "text"),
        Field("label", names.RELATION, "label", gold=True),
        Field("head", names.HEAD, required=False),
        Field("tail", names.TAIL, required=False),
        Field("head_type", names.HEAD_TYPE, required=False),
        Field("tail_type", names.TAIL_TYPE, required=False),
    ),
    _relation,
    also=_places,
)

"""Texts and pairs of texts with a label, labels or a number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from danlu.data import names
from danlu.data.columns import Field
from danlu.data.delimited import is_number
from danlu.data.example import Record
from danlu.data.form import Cells, Form
from danlu.data.parted import LABELS, part_alone
from danlu.data.rows import Row
from danlu.errors import shown


@dataclass(frozen=True, slots=True)
class Labelled(Record):
    """One text, or two, with a label; None where the file did not say."""

    texts: tuple[str, ...]
    label: str | None

    @property
    def labels(self) -> tuple[str, ...]:
        return () if self.label is None else (self.label,)

    @property
    def gold(self) -> str | None:
        return self.label


@dataclass(frozen=True, slots=True)
class MultiLabelled(Record):
    """A text with any number of labels, none too."""

    texts: tuple[str, ...]
    gold: tuple[str, ...] | None

    @property
    def labels(self) -> tuple[str, ...]:
        return self.gold or ()


@dataclass(frozen=True, slots=True)
class Scored(Record):
    """One text, or two, with a number."""

    texts: tuple[str, ...]
    number: float | None

    @property
    def gold(self) -> float | None:
        return self.number


def _labelled(cells: Cells) -> Labelled:
    return Labelled(cells.place, _texts(cells), cells.label("label"))


def _multi_labelled(cells: Cells) -> MultiLabelled:
    if not cells.gold and not cells.has("labels"):
        return MultiLabelled(cells.place, _texts(cells), None)
    return MultiLabelled(cells.place, _texts(cells), _several(cells))


def _scored(cells: Cells) -> Scored:
    return Scored(cells.place, _texts(cells), cells.number("number"))


def _texts(cells: Cells) -> tuple[str, ...]:
    if "text" in cells.columns:
        return (cells.text("text"),)
    return (cells.text("first"), cells.text("second"))


def _several(cells: Cells) -> tuple[str, ...]:
    """Labels of a list, or of a cell that spells one or parts them by | ; , or 、; an empty cell has none."""
    value = cells.parted("labels", lambda cell: part_alone(cell, LABELS))
    if not isinstance(value, list):
        raise cells.error("labels", f"must be a list of labels; got {shown(repr(value))}")
    found = []
    for each in value:
        label = str(each) if isinstance(each, int) and not isinstance(each, bool) else cells.checked("labels", each)
        if label in found:
            raise cells.error("labels", f"has {label!r} twice")
        found.append(label)
    return tuple(found)


def check_label_types(rows: Sequence[Row], column: str, *, typed: bool, called: str) -> None:
    """Refuse a column whose labels are of several types, as ``1`` beside ``positive`` or ``1.0`` is.

    In a table of text a label is a whole number, a number with a point or a word, by its letters; in JSON it is what
    it is there.

    Raises:
        InputError: the first label of a rarer type: its line, and one of the usual type.
    """
    found: dict[str, list[Row]] = {}
    for row in rows:
        value = row.cells.get(column)
        if value is not None and value != "":
            found.setdefault(_type(value, typed=typed), []).append(row)
    if len(found) < 2:
        return
    usual = max(found, key=lambda kind: len(found[kind]))
    odd = min((rows[0] for kind, rows in found.items() if kind != usual), key=lambda row: row.place.number)
    value, other = odd.cells[column], found[usual][0]
    raise odd.place.error(
        f"the {called} {shown(repr(value))} is {_type(value, typed=typed)}, but {len(found[usual]):,} others are "
        f"{usual}, such as {shown(repr(other.cells[column]))} in {other.place.unit} {other.place.number}; "
        f"correct it, or list all labels in labels"
    )


def _type(value: Any, *, typed: bool) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int):
        return "a whole number"
    if isinstance(value, float):
        return "a whole number" if value.is_integer() else "a number with a point"
    if not isinstance(value, str):
        return "no label"
    if typed or not is_number(value):
        return "text"
    return "a whole number" if value.strip().lstrip("+-").isdigit() else "a number with a point"


_TEXT = Field("text", names.TEXT, "text")
_FIRST, _SECOND = Field("first", names.FIRST, "texts"), Field("second", names.SECOND, "texts")
_LABEL = Field("label", names.LABEL, "label", gold=True)
_NUMBER = Field("number", names.NUMBER, "number", gold=True)

CLASSIFY = Form("classify", (_TEXT, _LABEL), _labelled)
PAIR = Form("pair", (_FIRST, _SECOND, _LABEL), _labelled)
MULTI_LABEL = Form(
    "multi_label", (_TEXT, Field("labels", names.LABELS, "labels", gold=True)), _multi_labelled,
    parted=("labels", LABELS), flags=True,
)  # fmt: skip
REGRESS = Form("regress", (_TEXT, _NUMBER), _scored)
SIMILARITY = Form("similarity", (_FIRST, _SECOND, _NUMBER), _scored)

"""A form: which columns a kind of task reads, how a row becomes an example, and what a whole file is checked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from danlu.data.columns import Field
from danlu.data.example import E, Place
from danlu.data.literals import is_broken, literal
from danlu.data.parted import Marks
from danlu.data.rows import Row
from danlu.errors import InputError, shown


@dataclass(slots=True)
class Mended:
    """What was put right or left out, by reason, each with the first place; only where the recipe allows it."""

    counts: dict[str, int]
    first: dict[str, Place]

    def add(self, reason: str, place: Place) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + 1
        self.first.setdefault(reason, place)

    def lines(self) -> list[str]:
        """``3 rows: the text is empty, left out; the first is a.csv, line 7``."""
        return [f"{count:,} × {reason}; the first: {self.first[reason]}" for reason, count in self.counts.items()]


@dataclass(frozen=True, slots=True)
class Cells:
    """A row by field, with what is read out of it checked."""

    row: Row
    columns: Mapping[str, str]
    """By field."""
    gold: bool = True
    """Whether the file has to say what is right."""
    mended: Mended | None = None
    """Where what can be meant in one way only is put right; None: it is refused."""

    @property
    def place(self) -> Place:
        return self.row.place

    def has(self, field: str) -> bool:
        """Whether there is such a column, and something in it."""
        return field in self.columns and self.row.cells.get(self.columns[field]) not in (None, "")

    def value(self, field: str) -> Any:
        """What stands there; None where there is no such column."""
        return self.row.cells.get(self.columns[field]) if field in self.columns else None

    def error(self, field: str, reason: str) -> InputError:
        """The error that names row, field and column."""
        column = self.columns.get(field, field)
        called = field if column == field else f"{field} (column {column!r})"
        return self.place.error(f"the {called} {reason}")

    def text(self, field: str) -> str:
        """Text that is not empty."""
        value = self.value(field)
        if value is None:
            raise self.error(field, "is missing")
        return self.checked(field, value)

    def checked(self, field: str, value: Any) -> str:
        """``value``, if it is text that is not empty."""
        if not isinstance(value, str):
            raise self.error(field, f"must be text; got {shown(repr(value))}")
        if not value.strip():
            raise self.error(field, "is empty")
        return self.characters(field, value)

    def characters(self, field: str, value: str) -> str:
        """``value``, if all of it is Unicode: JSON can spell half a surrogate pair."""
        try:
            value.encode()
        except UnicodeEncodeError:
            raise self.error(field, "holds half a surrogate pair, which is no character") from None
        if "\0" in value:
            raise self.error(field, "holds a NUL, as no text does")
        return value

    def listed(self, field: str) -> Any:
        """What stands there; a text that spells a list or an object, as tables have them, is that."""
        value = self.value(field)
        found = literal(value) if isinstance(value, str) else None
        if found is None and isinstance(value, str) and is_broken(value):
            raise self.error(field, f"begins as a list, but cannot be read as one; got {shown(repr(value))}")
        return value if found is None else found

    def parted(self, field: str, part: Callable[[str], list[str]]) -> Any:
        """What stands there; of a text the list that it spells, or else what ``part`` makes of it."""
        value = self.listed(field)
        return part(value) if isinstance(value, str) else value

    def texts(self, field: str) -> tuple[str, ...]:
        """A list of texts, none of them empty; a single text is a list of one."""
        return self.several(field, self.value(field))

    def several(self, field: str, value: Any) -> tuple[str, ...]:
        """``value``, if it is a list of texts, none of them empty; a single text is a list of one."""
        if isinstance(value, str):
            return (self.checked(field, value),)
        if not isinstance(value, list) or not value:
            raise self.error(field, f"must be a list of texts; got {shown(repr(value))}")
        return tuple(self.checked(field, each) for each in value)

    def label(self, field: str) -> str | None:
        """A label as text; None where the file need not say it."""
        if not self.gold and not self.has(field):
            return None
        value = self.value(field)
        if isinstance(value, list) and len(value) == 1:  # doccano's
            value = value[0]
        if isinstance(value, list):
            raise self.error(field, f"must be one label; got {shown(repr(value))} (multi_label learns several)")
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int):
            return str(value)
        if isinstance(value, float) and value.is_integer():  # pandas' whole numbers where one is missing
            return str(int(value))
        return self.text(field) if value is None else self.checked(field, value)

    def number(self, field: str) -> float | None:
        """A finite number; None where the file need not say it."""
        if not self.gold and not self.has(field):
            return None
        value = self.value(field)
        if value is None or value == "":
            raise self.error(field, "is missing")
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            comma = isinstance(value, str) and value.count(",") == 1
            hint = "; write its decimal mark as a point, and thousands without a mark" if comma else ""
            raise self.error(field, f"must be a finite number; got {shown(repr(value))}{hint}")
        return number


def nothing_to_check(examples: Sequence[E], mended: Mended | None) -> Sequence[E]:
    """What a form does whose rows need no look at each other."""
    return examples


def nothing_else(columns: Collection[str]) -> Collection[str]:
    """What a form reads beside its fields of which each has a column."""
    return ()


def nothing_to_say(examples: Sequence[E]) -> str:
    """What a form says of which nothing was detected."""
    return ""


@dataclass(frozen=True, slots=True)
class Counting(Generic[E]):
    """Answers that are numbers, from 0 or from 1: other files are read as the one that is trained on."""

    found: Callable[[Sequence[E]], int | None]
    """What checked examples are counted from; None: no answer is a number."""
    fits: Callable[[Sequence[E], int], bool]
    """Whether the answers of examples that are not checked yet can be counted from that number."""
    check: Callable[[Sequence[E], int, Mended | None], Sequence[E]]
    """As ``check`` of a form, counted from that number."""


@dataclass(frozen=True, slots=True)
class Form(Generic[E]):
    """A kind of task's data."""

    name: str
    fields: tuple[Field, ...]
    read: Callable[[Cells], E]
    """Raises InputError for a row that is no example."""
    check: Callable[[Sequence[E], Mended | None], Sequence[E]] = nothing_to_check
    """Looks at the examples of a file together; raises InputError, or mends where it may."""
    counting: Counting[E] | None = None
    """How files are read whose answers are numbers; None: what they are counted from is never left open."""
    said: Callable[[Sequence[E]], str] = nothing_to_say
    """What was detected in the examples, to be shown; may be empty."""
    parted: tuple[str, Sequence[Marks]] | None = None
    """The field whose cells may hold several things as one text, and what may part them."""
    also: Callable[[Collection[str]], Collection[str]] = nothing_else
    """Of a file's columns those that are read by names of their own."""
    sentences: bool = False
    """Whether its files are sentences with a tag a token."""
    flags: bool = False
    """Whether its files may have a column for each label, of 0 and 1."""

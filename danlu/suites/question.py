"""A suite: rows of a file to questions, each with what a model is asked of every choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from danlu.data.chosen import CHOICE, MultipleChoice
from danlu.data.columns import choose_columns
from danlu.data.example import Place
from danlu.data.form import Cells
from danlu.data.rows import Table
from danlu.errors import InputError
from danlu.recipe import Choice
from danlu.suites.request import Request


@dataclass(frozen=True, slots=True)
class Question:
    """A context, or one for each choice, and what may follow."""

    place: Place
    requests: tuple[Request, ...]
    """One a choice."""
    choices: tuple[str, ...]
    """Without the space before them: by their lengths ``acc_norm`` and ``acc_bytes`` divide."""
    gold: int
    """Which of them is right, from 0."""
    groups: Mapping[str, str] = field(default_factory=dict)
    """What it belongs to, by kind: ``{"phenomenon": "island_effects"}``."""


class Suite(Choice):
    """Settings of a suite; a subclass makes the questions."""

    written: ClassVar[bool] = False
    """Whether a question is right where the model would write the continuation itself; else the likeliest choice is."""
    normalised: ClassVar[bool] = False
    """Whether choices differ in length for no reason, so that ``acc_norm`` stands beside ``acc``."""
    first_is_right: ClassVar[bool] = False
    """Whether the right choice is always the first, so that it says nothing which place is right most often."""
    shown: ClassVar[str] = ""
    """The kind of groups whose figures stand in the table; the file has those of all."""

    def files(self) -> list[Path]:
        """Files that it reads beside that of the questions."""
        return []

    def questions(self, table: Table) -> list[Question]:
        """The questions of a file.

        Raises:
            InputError: a row is none; the error says file, line, column and what is wrong.
        """
        raise NotImplementedError(type(self).__name__)


def form_of(table: Table, *forms: Sequence[str]) -> Sequence[str]:
    """The first of the ``forms`` whose columns the file has all.

    Raises:
        InputError: it has none of them.
    """
    for form in forms:
        if set(form) <= set(table.columns):
            return form
    wanted = "; or ".join(", ".join(form) for form in forms)
    raise InputError(f"{table.path}: questions of this suite have the columns {wanted}; got {', '.join(table.columns)}")


def cells_of(table: Table) -> list[Cells]:
    """The rows, to be read by the names of their columns."""
    columns = {name: name for name in table.columns}
    return [Cells(row, columns) for row in table.rows]


def choices_of(table: Table, columns: Mapping[str, str]) -> list[tuple[MultipleChoice, int]]:
    """Rows with a question, choices and which is right, in any of the usual forms; and the place of the right one.

    Args:
        columns: what is not found by the usual names.

    Raises:
        InputError: a row has fewer than two choices, or none of them is said to be right.
    """
    chosen = choose_columns(table, CHOICE.fields, columns)
    found = CHOICE.check([CHOICE.read(Cells(row, chosen)) for row in table.rows], None)
    return [(example, example.answer) for example in found if example.answer is not None]


def gold_of(cells: Cells, column: str, count: int, *, first: int = 0) -> int:
    """Which choice is right, from 0; the file counts from ``first``.

    Raises:
        InputError: the column holds no such number.
    """
    value = cells.value(column)
    text = str(value).strip().lower()
    truth = {"true": 1, "false": 0, "yes": 1, "no": 0}
    number = truth.get(text) if count == 2 and not first else None
    if number is None and isinstance(value, str | int) and text.isdecimal():
        number = int(text) - first
    if number is None or not 0 <= number < count:
        raise cells.error(column, f"must be a number from {first} to {count - 1 + first}; got {value!r:.100}")
    return number

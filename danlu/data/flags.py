"""Tables with a column for each label, of 0 and 1, as lists of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from danlu.data.names import LABELS, plain_name
from danlu.data.rows import Table
from danlu.errors import InputError, shown

COLUMN = "labels"
"""What the column of lists is called, as the field that it is for."""
ODD = 0.05
"""Share of a column's rows of train that may hold something else, which is then an error and not another column."""
_FLAGS = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}


def flag_columns(table: Table, *, odd: float = 0.0) -> list[str]:
    """The columns with nothing but 0 and 1, or true and false, but in a share ``odd`` of the rows; none where a column
    is called as labels are."""
    if not table.named or any(plain_name(column) in LABELS for column in table.columns):
        return []
    found = [column for column in table.columns if _are_flags(table, column, odd=odd)]
    return found if any(_flag(row.cells.get(column)) for column in found for row in table.rows) else []


def may_be_flags(columns: Mapping[str, str | int]) -> bool:
    """Whether labels may be such columns: not where another one is named for them."""
    return columns.get(COLUMN, COLUMN) == COLUMN


def gather_flags(table: Table, flags: Sequence[str] | None = None) -> Table:
    """A column more, of the lists of those columns that have a 1; where fewer than two are such, the table as it is.

    Args:
        flags: the columns, by default all that can be such.
    """
    flags = flag_columns(table) if flags is None else flags
    if len(flags) < 2:
        return table
    rows = tuple(
        replace(row, cells={**row.cells, COLUMN: [column for column in flags if _flag(row.cells.get(column))]})
        for row in table.rows
    )
    note = f"labels are the columns {', '.join(flags)}, where they are 1"
    return replace(table, columns=(*table.columns, COLUMN), rows=rows, notes=(*table.notes, note))


def gather_train(table: Table) -> tuple[Table, list[str]]:
    """The table that is trained on with its columns of 0 and 1 gathered, and these.

    Raises:
        InputError: a cell of such a column holds something else; left out for that, nobody would learn the label.
    """
    flags = flag_columns(table, odd=ODD)
    for column in flags if len(flags) > 1 else ():
        wrong = [row for row in table.rows if _flag(row.cells.get(column)) is None]
        if wrong:
            got, others = shown(repr(wrong[0].cells.get(column))), len(table.rows) - len(wrong)
            raise wrong[0].place.error(
                f"column {column!r} must be 0 or 1, as in {others:,} other rows; got {got} "
                f"(if it is no label, take it out of the file, or name the one with labels in columns.labels)"
            )
    return gather_flags(table, flags), flags


def gather_as_train(table: Table, flags: Sequence[str], *, train: Path) -> Table:
    """The same of a file beside ``train``: its columns are the labels, and no others that happen to be of 0 and 1.

    Where the file has none of them, or its own column of lists, it stays as it is.

    Raises:
        InputError: it lacks some of them, or has something else there.
    """
    if COLUMN in table.columns or not set(flags) & set(table.columns):
        return table
    for column in flags:
        if column not in table.columns:
            raise InputError(f"{table.path} has no column {column!r}, a label of {train}")
        for row in table.rows:
            if _flag(row.cells.get(column)) is None:
                raise row.place.error(f"column {column!r} must be 0 or 1; got {shown(repr(row.cells.get(column)))}")
    return gather_flags(table, flags)


def gather_known(table: Table, labels: Sequence[str]) -> Table:
    """The same of a file to be predicted, by a model that knows these labels: where it has a column for each."""
    whole = COLUMN not in table.columns and set(labels) <= set(table.columns)
    return gather_flags(table, labels) if whole and all(_are_flags(table, each) for each in labels) else table


def _are_flags(table: Table, column: str, *, odd: float = 0.0) -> bool:
    """Whether it holds 0 or 1 but in a share ``odd`` of its rows."""
    return sum(_flag(row.cells.get(column)) is None for row in table.rows) <= odd * len(table.rows)


def _flag(value: Any) -> bool | None:
    if isinstance(value, bool) or value is None:
        return value
    return _FLAGS.get(str(value).strip().lower())

"""Tables with a column for each label, of 0 and 1, as lists of labels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from danlu.data.names import LABELS, plain_name
from danlu.data.rows import Table

COLUMN = "labels"
"""What the column of lists is called."""
_FLAGS = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}


def flag_columns(table: Table) -> list[str]:
    """The columns with nothing but 0 and 1, or true and false; none where a column is called as labels are."""
    if not table.named or any(plain_name(column) in LABELS for column in table.columns):
        return []
    found = [column for column in table.columns if all(_flag(value) is not None for value in table.values(column))]
    return found if any(_flag(row.cells[column]) for column in found for row in table.rows) else []


def gather_flags(table: Table) -> Table:
    """A column more, of the lists of those columns that have a 1; where fewer than two are such, the table as it is."""
    flags = flag_columns(table)
    if len(flags) < 2:
        return table
    rows = tuple(
        replace(row, cells={**row.cells, COLUMN: [column for column in flags if _flag(row.cells[column])]})
        for row in table.rows
    )
    note = f"labels are the columns {', '.join(flags)}, where they are 1"
    return replace(table, columns=(*table.columns, COLUMN), rows=rows, notes=(*table.notes, note))


def _flag(value: Any) -> bool | None:
    if isinstance(value, bool) or value is None:
        return value
    return _FLAGS.get(str(value).strip().lower())

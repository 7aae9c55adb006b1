"""Names above the columns of a file to be predicted, where the training file had none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from danlu.data.columns import Field, by_names
from danlu.data.names import KNOWN, plain_name
from danlu.data.rows import Table

NOTE = "the first row names the columns"


def without_names(table: Table) -> Table:
    """Without its first row, where that has names which columns usually have, and nothing else: it is no example."""
    first = [str(cell).strip() for cell in table.rows[0].cells.values()]
    if len(table.rows) < 2 or not all(plain_name(cell) in KNOWN for cell in first):
        return table
    return replace(table, rows=table.rows[1:], notes=(*(note for note in table.notes if note != "no header"), NOTE))


def read_by_names(table: Table, fields: Sequence[Field]) -> Table | None:
    """The table as it is read without a word on its header, where that, or JSON, names the columns of all that is
    asked: their order need not be that of training. None: go by the places of the columns."""
    wanted = [each for each in fields if each.required and not each.gold]
    if not table.named or len(by_names(table, wanted)) < len(wanted):
        return None
    return table if table.typed else replace(table, notes=(*table.notes, NOTE))

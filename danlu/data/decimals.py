"""Numbers with a comma for their decimal mark, as spreadsheets write them in much of Europe."""

from __future__ import annotations

import re
from dataclasses import replace

from danlu.data.rows import Table

_COMMA = re.compile(r"\s*[+-]?\d*,(\d+)\s*")
_THOUSANDS = 3


def are_decimal_commas(values: list[object]) -> bool:
    """Whether commas are decimal marks: no number has a point, and behind a comma are not always three digits."""
    texts = [value for value in values if isinstance(value, str)]
    behind = [match[1] for match in map(_COMMA.fullmatch, texts) if match]
    return any(len(digits) != _THOUSANDS for digits in behind) and not any("." in text for text in texts)


def with_points(table: Table, column: str) -> Table:
    """The table with points in the place of decimal commas in a column, which is noted; mostly as it is."""
    if not are_decimal_commas(table.values(column)):
        return table
    rows = tuple(replace(row, cells={**row.cells, column: _with_point(row.cells.get(column))}) for row in table.rows)
    return replace(table, rows=rows, notes=(*table.notes, f"decimal commas in {column}"))


def _with_point(cell: object) -> object:
    return cell.replace(",", ".") if isinstance(cell, str) and _COMMA.fullmatch(cell) else cell

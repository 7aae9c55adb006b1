"""Numbers with a unit, as tables for people have them: 4.5分, £850, 37.2 ℃."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from danlu.data.rows import Table

_NUMBER = re.compile(
    r"\s*([^\d\s+\-.,()\[\]]*)\s*([+-]?\d+(?:[.,]\d+)?)\s*((?:[^\d\s+\-.,:;/()\[\]][^\d+\-,()\[\]]*)?)"
)
"""A number with something before or behind it, which is neither a sign nor part of another number: ``1-2元`` and
``(1.20)``, which bookkeepers write for -1.20, are none."""
OF_NUMBERS = frozenset({
    "%", "％", "‰", "°", "℃", "°c", "°f", "¥", "￥", "$", "£", "€", "元", "万元", "分", "星", "颗星", "岁", "star",
    "point", "kg", "公斤", "cm", "厘米",
})  # fmt: skip
"""Units that stand at numbers alone, and at no number of a class, a group or a version."""
Unit = tuple[str, str]
"""What stands before each number, and behind it, in small letters and without the s of many."""


def unit_of(values: Sequence[object]) -> Unit | None:
    """The unit of a column in which every cell that is not empty is a number with the same one; None of any other.

    Where numbers without a unit are beside those with one, nobody can tell whether 0.5 is 50% or half a percent.
    """
    texts = [str(value) for value in values if isinstance(value, str) and value.strip()]
    found = {(_plain(match[1]), _plain(match[3])) if match else None for match in map(_NUMBER.fullmatch, texts)}
    others = any(value is not None and not isinstance(value, str) for value in values)
    unit = found.pop() if len(found) == 1 and not others else None
    return unit if unit is not None and any(unit) else None


def counts_something(unit: Unit) -> bool:
    """Whether the unit alone tells that these are numbers."""
    before, behind = unit
    return (before or behind) in OF_NUMBERS


def are_counted(values: Sequence[object]) -> bool:
    """Whether what stands at the numbers, if anything does, is a unit: ``class 3`` and ``v1.5`` are names."""
    unit = unit_of(values)
    return unit is None or counts_something(unit)


def _plain(part: str) -> str:
    part = part.strip().lower()
    return part.removesuffix("s") if len(part) > 1 else part


def numbers_of(values: Sequence[object]) -> list[object]:
    """The values without their unit; as they are where they have none that all share."""
    return list(values) if unit_of(values) is None else [_without(value) for value in values]


def without_units(table: Table, column: str) -> Table:
    """The table with a column's numbers without the unit that all of them have, which is noted; mostly as it is."""
    values = table.values(column)
    unit = unit_of(values)
    if unit is None:
        return table
    rows = tuple(replace(row, cells={**row.cells, column: _without(row.cells.get(column))}) for row in table.rows)
    shown = " … ".join(unit) if all(unit) else "".join(unit)
    return replace(table, rows=rows, notes=(*table.notes, f"{column} without its unit {shown!r}"))


def _without(cell: object) -> object:
    match = _NUMBER.fullmatch(cell) if isinstance(cell, str) else None
    return match[2] if match else cell

"""Cells that hold several labels or words: what parts them is of the whole column, and not of each cell for itself.

A label may hold a comma: ``news, local`` is one in a column whose cells are parted by vertical bars.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from danlu.data.literals import is_broken, literal
from danlu.data.rows import Table

Marks = tuple[str, ...]
"""Signs that stand for each other."""
LABELS: tuple[Marks, ...] = (("|", "｜"), (";", "；"), (",", "，"), ("、",))
"""What parts labels, the surest first."""
CHOICES: tuple[Marks, ...] = (("|", "｜"), ("\n",), (";", "；"))
"""What parts the choices of a question, in which commas are part of the text."""
WORDS: tuple[Marks, ...] = ((";", "；", "、", ",", "，", "|", "｜", "\n"), ("_",))
"""What parts keywords, whose authors are free with the former; where none of them is, the latter does."""
_SHARE = 0.05
"""Of the cells with any mark, those that have a surer one, from which it is no chance."""


def marks_of(cells: Sequence[str], known: Sequence[Marks]) -> Marks:
    """What parts the cells of a column: the surest marks that are more than chance; none where no cell has any."""
    having = [[any(mark in cell for mark in marks) for marks in known] for cell in cells]
    having = [each for each in having if any(each)]
    counts = [sum(column) for column in zip(*having, strict=True)] if having else []
    return next((marks for marks, count in zip(known, counts, strict=False) if count >= _SHARE * len(having)), ())


def part(cell: str, marks: Marks) -> list[str]:
    """What stands between the marks, without spaces around it; of nothing, as behind the last one, there is no part."""
    for mark in marks[1:]:
        cell = cell.replace(mark, marks[0])
    parts = cell.split(marks[0]) if marks else [cell]
    return [each.strip() for each in parts if each.strip()]


def part_alone(cell: str, known: Sequence[Marks]) -> list[str]:
    """The same of a cell whose column nobody knows."""
    return part(cell, marks_of([cell], known))


def part_column(
    table: Table, column: str | None, known: Sequence[Marks], given: Marks | None = None
) -> tuple[Table, Marks | None]:
    """The table with lists in the place of the texts of a column, but those that spell a list, are broken or empty; and
    what parts them, None where there are no such texts.

    Args:
        column: None: the table has none, and stays as it is.
        given: what parts that column in ``train``; None: what does is found here.
    """
    texts = texts_of(table, column)
    if column is None or not texts:
        return table, given
    marks = marks_of(texts, known) if given is None else given
    rows = tuple(
        replace(row, cells={**row.cells, column: part(str(row.cells[column]), marks)})
        if _is_text(row.cells.get(column))
        else row
        for row in table.rows
    )
    there = [mark for each in known for mark in each if has_any(texts, (mark,))]
    by = " ".join(map(repr, [mark for mark in there if mark in marks] or marks[:1]))
    others = " ".join(repr(mark) for mark in there if mark not in marks)
    as_train = "" if given is None else ", as in training"
    note = f"{column} parted by {by}, and not by {others}" if marks else f"{column} not parted by {others}"
    return replace(table, rows=rows, notes=(*table.notes, *([note + as_train] if others else []))), marks


def has_any(texts: Sequence[str], marks: Marks) -> bool:
    """Whether a mark is in a text."""
    return any(mark in text for text in texts for mark in marks)


def texts_of(table: Table, column: str | None) -> list[str]:
    """The cells of a column that marks part."""
    return [] if column is None else [cell for cell in table.values(column) if _is_text(cell)]


def _is_text(cell: object) -> bool:
    return isinstance(cell, str) and bool(cell.strip()) and literal(cell) is None and not is_broken(cell)

"""Tables with a token a row as sentences: a column says which sentence it is of, or a blank line stands between two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from danlu.data.example import Place
from danlu.data.names import TAGS, TOKEN, plain_name
from danlu.data.rows import Row, Table

_SENTENCE = ("sentence_#", "sentence", "sentence_id", "sent_id", "sentence_idx", "sentence_number", "句子编号")


def gather_sentences(table: Table) -> Table:
    """A row a sentence, each of its cells a list, where the table has a column for the token and one for a tag, and
    something that parts sentences; any other table as it is.

    Where a column says the sentence, one goes on where that is empty, or says what it said before.
    """
    names = {plain_name(column): column for column in table.columns}
    if any(isinstance(cell, list) for cell in table.rows[0].cells.values()):  # it has sentences already
        return table
    if table.named and not (names.keys() & set(TOKEN) and names.keys() & set(TAGS)):
        return table
    column = next((names[name] for name in _SENTENCE if name in names), None)
    if column is not None:
        said = _as_before(table.rows, column)
        return _gathered(table, said, column, note=f"sentences by column {column!r}")
    ends = [row.place.number + _lines_within(row) + 1 for row in table.rows]
    begins = [True, *(row.place.number > end for row, end in zip(table.rows[1:], ends, strict=False))]
    if sum(begins) < 2 or not (table.named or _are_tokens(table)):
        return table
    return _gathered(table, begins, None, note="sentences by blank lines")


def _as_before(rows: Sequence[Row], column: str) -> list[bool]:
    """Whether each row begins a sentence, by a column."""
    begins: list[bool] = []
    current: object = None
    for row in rows:
        said = row.cells.get(column)
        begins.append(not begins or (said not in (None, "") and said != current))
        if begins[-1]:
            current = said
    return begins


def _gathered(table: Table, begins: Sequence[bool], column: str | None, *, note: str) -> Table:
    sentences: list[list[Row]] = []
    for row, new in zip(table.rows, begins, strict=True):
        if new:
            sentences.append([])
        sentences[-1].append(row)
    columns = tuple(name for name in table.columns if name != column)
    rows = tuple(
        Row(
            Place(table.path, rows[0].place.number, rows[0].place.unit),
            {name: [row.cells.get(name) for row in rows] for name in columns},
            tuple(row.place.number for row in rows),
        )
        for rows in sentences
    )
    return replace(table, columns=columns, rows=rows, notes=(*table.notes, note))


def _are_tokens(table: Table) -> bool:
    """Whether a table whose columns have no names has a token and its tags in each row: no cell has a space."""
    cells = [cell for row in table.rows for cell in row.cells.values()]
    return len(table.columns) > 1 and all(isinstance(cell, str) and len(cell.split()) == 1 for cell in cells)


def _lines_within(row: Row) -> int:
    """How many line ends the cells of a row hold."""
    return sum(cell.count("\n") for cell in row.cells.values() if isinstance(cell, str))

"""Tables with a token a row and a column that says its sentence, as sentences."""

from __future__ import annotations

from dataclasses import replace

from danlu.data.example import Place
from danlu.data.names import TAGS, TOKENS, plain_name
from danlu.data.rows import Row, Table

_SENTENCE = ("sentence_#", "sentence", "sentence_id", "sent_id", "sentence_idx", "sentence_number", "句子编号")


def gather_sentences(table: Table) -> Table:
    """A row a sentence, each of its cells a list, where the table has a column for the sentence, one for the token and
    one for a tag; any other table as it is.

    A sentence goes on where its column is empty, or says what it said before.
    """
    names = {plain_name(column): column for column in table.columns}
    column = next((names[name] for name in _SENTENCE if name in names), None)
    singular = {"token", "word", "form", "字", "词"} & names.keys() & set(TOKENS)
    if column is None or not singular or not names.keys() & set(TAGS) or not table.named:
        return table
    sentences: list[list[Row]] = []
    current = object()
    for row in table.rows:
        said = row.cells.get(column)
        if not sentences or (said not in (None, "") and said != current):
            sentences.append([])
            current = said
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
    return replace(table, columns=columns, rows=rows, notes=(*table.notes, f"sentences by column {column!r}"))

"""The file that ``danlu predict`` writes: the columns of the file that was read, and beside them what a model says."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from danlu.data.rows import Table
from danlu.files import finite
from danlu.log import say
from danlu.tasks.scores import prediction
from danlu.tasks.task import Answer

LINE = (
    "file", "line", "row", "question", "item", "texts", "gold", "prediction", "confidence", "scores", "cut", "figures",
    "words", "prompt", "messages", "text", "answer", "response", "output", "completion",
)  # fmt: skip
"""What a line of predictions has, or ``danlu compare`` and ``danlu rate`` look for in one: no column is called so."""
Cells = Mapping[str, Any]


@dataclass(frozen=True)
class Source:
    """The file that was read."""

    path: Path
    columns: Mapping[str, str]
    """Its columns in order, and what each is called; one without a name is called as what it was read for."""
    read: frozenset[str]
    """Those that the task reads."""
    cells: Mapping[int, Cells]
    """By the number of its place, what a row has in each."""

    @classmethod
    def of(cls, table: Table, chosen: Mapping[str, str]) -> Source:
        """The rows of ``table``, of which each field was read from the column that is ``chosen`` for it."""
        fields = {column: field for field, column in chosen.items()}
        whole = [column for column in table.columns if table.outer(column) is None]
        called = {
            column: column if table.named else fields.get(column, f"column{place}")
            for place, column in enumerate(whole, 1)
        }
        outer = {table.outer(column) for column in fields}
        read = frozenset(column for column in whole if column in fields or column in outer)
        cells = {row.place.number: row.cells for row in table.rows}
        if table.members:  # which stand in their objects
            cells = {number: {each: own[each] for each in whole if each in own} for number, own in cells.items()}
        return cls(table.path, called, read, cells)

    def apart(self, columns: Iterable[str], taken: Collection[str]) -> dict[str, str]:
        """Columns, and what they are called where some names are taken: ``input.prediction``, which is told."""
        found: dict[str, str] = {}
        for column in columns:
            name = self.columns[column]
            while name in taken or (name != self.columns[column] and name in self.columns.values()):
                name = f"input.{name}"
            if name != self.columns[column]:
                say(f"{self.path}: its column {column!r} is called {name!r} beside the predictions")
            found[column] = name
        return found


def as_jsonl(source: Source, examples: Sequence[Any], answers: Sequence[Answer]) -> bytes:
    """A line an example; of the file's columns those that the task does not read, for the line has the others."""
    more = answers[0].more if answers else {}
    units = {example.place.unit for example in examples[:1]}
    names = source.apart([each for each in source.columns if each not in source.read], {*LINE, *more, *units})
    lines = (
        finite({name: cells[column] for column, name in names.items() if column in cells} | prediction(example, said))
        for example, said, cells in _beside(source, examples, answers)
    )
    return _bytes(
        "".join(f"{json.dumps(line, ensure_ascii=False, allow_nan=False, default=_plain)}\n" for line in lines)
    )


def as_table(delimiter: str) -> Callable[[Source, Sequence[Any], Sequence[Answer]], bytes]:
    """The same as a table: all columns of the file in front, and what was read where no column has it as it is."""

    def write(source: Source, examples: Sequence[Any], answers: Sequence[Answer]) -> bytes:
        more = [name for name in (answers[0].more if answers else ()) if not _says(source, name, examples, answers)]
        most = 0 if _has_texts(source, examples) else max(len(each.texts) for each in examples)
        own = [*_place(examples), *(f"text{place + 1}" for place in range(most)), "prediction", "confidence", *more]
        names = source.apart(source.columns, own)
        file = io.StringIO(newline="")
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerow([*names.values(), *own])
        for example, said, cells in _beside(source, examples, answers):
            confidence = "" if said.confidence is None else f"{said.confidence:.6f}"
            texts = [*example.texts[:most], *[""] * (most - len(example.texts))]  # one may have more than another
            told = (_cell(said.more[name]) for name in more)
            beside = [cell if isinstance(cell, str) else _cell(cell) for cell in map(cells.get, names)]
            writer.writerow([*beside, example.place.number, *texts, _cell(said.value), confidence, *told])
        return _bytes(file.getvalue())

    return write


WRITERS = {".jsonl": as_jsonl, ".csv": as_table(","), ".tsv": as_table("\t")}
"""By the ending of the file: what it holds."""


def _beside(source: Source, examples: Sequence[Any], answers: Sequence[Answer]) -> Iterable[tuple[Any, Answer, Cells]]:
    for example, said in zip(examples, answers, strict=True):
        yield example, said, source.cells[example.place.number]


def _place(examples: Sequence[Any]) -> list[str]:
    """What the column with the places of examples is called; what counts questions or items is no text of theirs."""
    return [unit if unit in ("line", "row") else "number" for unit in {each.place.unit for each in examples[:1]}]


def _has_texts(source: Source, examples: Sequence[Any]) -> bool:
    """Whether columns of the file have all texts as they were read."""
    rows = ((example.texts, source.cells[example.place.number].values()) for example in examples)
    return all(text in cells for texts, cells in rows for text in texts)


def _says(source: Source, name: str, examples: Sequence[Any], answers: Sequence[Answer]) -> bool:
    """Whether a column of the file says the same as the answers do under this name."""
    column = next((column for column, called in source.columns.items() if called == name), None)
    if column is None:
        return False
    return all(cells.get(column) == said.more[name] for _, said, cells in _beside(source, examples, answers))


def _cell(value: Any) -> Any:
    """A value in a table; what is none of its kinds is JSON."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, ensure_ascii=False, default=_plain)
    return _plain(value)


def _plain(value: Any) -> str:
    """What Parquet has and JSON has not, such as a day, as text; of bytes, as those of a picture, how many they are."""
    return f"{len(value):,} bytes" if isinstance(value, bytes) else str(value)


def _bytes(text: str) -> bytes:
    """In UTF-8; half a surrogate pair, which a column may hold that no task reads, as JSON spells it."""
    return text.encode(errors="backslashreplace")

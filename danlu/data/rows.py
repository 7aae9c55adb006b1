"""Rows of a file before anybody has said what its columns mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from danlu.data.example import Place
from danlu.errors import InputError, shown, suggestion


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of one row by column; a cell of CoNLL is the list of a sentence's."""

    place: Place
    cells: Mapping[str, Any]
    lines: tuple[int, ...] = ()
    """Of a sentence in CoNLL: the line of each of its tokens."""


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a file; all have the same columns, of JSON those that they have."""

    path: Path
    columns: tuple[str, ...]
    """Their names, or ``1``, ``2``, … where the file names none."""
    rows: tuple[Row, ...]
    named: bool
    """Whether the names are the file's own."""
    typed: bool = False
    """Whether a number and the text of its digits are two things, as in JSON."""
    marked: bool = False
    """Whether a mark says which words are labels, so that they are a set of labels, whatever they look like."""
    notes: tuple[str, ...] = ()
    """What was detected, to be shown: ``read as gb18030``."""
    members: Mapping[str, str] = field(default_factory=dict)
    """Of columns made of what objects hold: the column of the objects. A dot in a name alone makes none."""

    def values(self, column: str) -> list[Any]:
        """A column; None where a row lacks it."""
        return [row.cells.get(column) for row in self.rows]

    def outer(self, column: str) -> str | None:
        """The column of the objects that a column is a part of; None of most."""
        return self.members.get(column)

    def parts(self, column: str) -> dict[str, Table]:
        """The rows by the value of a column that says to which split they belong, in order of appearance.

        Raises:
            InputError: there is no such column, or a row has no text there.
        """
        if column not in self.columns:
            raise InputError(f"split_column: {self.path} has no column {column!r}{suggestion(column, self.columns)}")
        parts: dict[str, list[Row]] = {}
        for row in self.rows:
            value = row.cells.get(column)
            if not isinstance(value, str) or not value.strip():
                raise row.place.error(f"column {column!r} must name the split; got {shown(repr(value))}")
            parts.setdefault(value.strip(), []).append(row)
        return {value: replace(self, rows=tuple(rows)) for value, rows in parts.items()}

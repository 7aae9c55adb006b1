"""Tables of text, .csv and .tsv, as a stream of rows.

The first row names the columns where one of them is the wanted ``text_field``; where that is a number, there is no such
row and columns are counted from 1. A row that is broken costs itself alone: what a quote that never ends would swallow
is read again, line by line.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from danlu.readers.lines import Lines, TextLine
from danlu.readers.record import SAID_HERE, Content, Raw, Rejected, Wanted, checked
from danlu.readers.whole import encoding_field

_SAID = re.compile(r'\ufeff?"?sep=([^\r\n"])"?\r?\n', re.IGNORECASE)
_DELIMITERS = (",", "\t", ";", "|")
_LINES = 10_000
"""A quoted cell of more lines is one that never ends."""


def read_csv(content: Content, wanted: Wanted) -> Iterator[Raw | Rejected]:
    """Rows of cells parted by commas, or by semicolons, tabs or bars where the first row says so; quotes enclose."""
    yield from _read(content, wanted, ",")


def read_tsv(content: Content, wanted: Wanted) -> Iterator[Raw | Rejected]:
    """Rows of cells parted by tabs; quotes are characters of the text, unless all names of columns are enclosed."""
    yield from _read(content, wanted, "\t")


@dataclass(slots=True)
class _Form:
    """How rows are written."""

    delimiter: str
    quotes: bool
    names: list[str]
    has_header: bool


def _read(content: Content, wanted: Wanted, own: str) -> Iterator[Raw | Rejected]:
    csv.field_size_limit(max(csv.field_size_limit(), wanted.record_bytes))
    with content.open() as file:
        source = _Source(iter(Lines(content, wanted, file)))
        first = source.first()
        yield from source.rejected()
        if first is None:
            return
        said = _SAID.fullmatch(first.text)  # by Excel, in a line of its own that is no row
        if said is not None:
            first = source.first()
            yield from source.rejected()
            if first is None:
                return
        form = _form(first.text, wanted.text_field, own, said[1] if said is not None else None)
        if isinstance(form, Rejected):
            yield Rejected(first.number, form.reason, form.detail, first.offset)
            return
        if not form.has_header:
            source.held.appendleft(first)
        yield from _rows(source, form, wanted)


def _form(line: str, text_field: str, own: str, said: str | None) -> _Form | Rejected:
    line = line.removeprefix("\ufeff")
    if text_field.isdecimal():
        return _without_names(line, text_field, said or own, own != "\t")
    for delimiter in (said,) if said is not None else (own, *_DELIMITERS):
        enclosed = all(cell.startswith('"') for cell in line.split(delimiter))
        quotes = own != "\t" or enclosed
        try:
            cells = [cell.strip() for cell in _cells(iter([line]), delimiter, quotes)]
        except csv.Error:
            continue
        if text_field in cells:
            return _Form(delimiter, quotes, cells, True)
    return _no_field(text_field, line.rstrip("\r\n").split(said or own))


def _without_names(line: str, text_field: str, delimiter: str, quotes: bool) -> _Form | Rejected:
    try:
        cells = _cells(iter([line]), delimiter, quotes)
    except csv.Error:  # a cell of several lines, which are not looked at
        cells = line.rstrip("\r\n").split(delimiter)
    if not 1 <= int(text_field) <= len(cells):
        return _no_field(text_field, cells)
    return _Form(delimiter, quotes, [str(place) for place in range(1, len(cells) + 1)], False)


def _no_field(text_field: str, cells: list[str]) -> Rejected:
    return Rejected(0, f"no field {text_field!r}", f"the first row has: {', '.join(cells)[:200]}")


@dataclass(slots=True)
class _Source:
    """Lines, some of them put back; those that cannot be read are set apart, with rows that are broken."""

    lines: Iterator[TextLine | Rejected]
    held: deque[TextLine] = field(default_factory=deque)
    apart: list[Rejected] = field(default_factory=list)

    def next(self) -> TextLine | None:
        """The next line that can be read."""
        if self.held:
            return self.held.popleft()
        for line in self.lines:
            if isinstance(line, TextLine):
                return line
            self.apart.append(line)
        return None

    def first(self) -> TextLine | None:
        """The next line that is not blank."""
        while (line := self.next()) is not None and not line.text.strip("\ufeff \r\n"):
            continue
        return line

    def rejected(self) -> list[Rejected]:
        """What was set apart since this was asked last."""
        apart, self.apart = self.apart, []
        return apart


def _rows(source: _Source, form: _Form, wanted: Wanted) -> Iterator[Raw | Rejected]:
    others = [name for name in form.names if name not in (wanted.text_field, *SAID_HERE)]
    while (first := source.next()) is not None:
        yield from source.rejected()
        if not first.text.strip("\r\n" if form.delimiter == "\t" else "\r\n \t"):
            continue
        cells = _row(source, first, form, wanted.record_bytes)
        where = f"at byte {first.offset}, line {first.number + 1}"
        if isinstance(cells, str):
            yield Rejected(first.number, "broken row", f"{where}: {cells}", first.offset)
            continue
        if "\0" in "".join(cells):
            yield Rejected(first.number, "binary", f"{where}: a NUL in the row", first.offset)
            continue
        row = dict(zip(form.names, cells, strict=True))
        fields = {**{name: row[name] for name in others}, **encoding_field(first.encoding)}
        place = Raw(first.number, "", offset=first.offset)
        yield checked(place, row[wanted.text_field], fields, wanted.text_field, where)
    yield from source.rejected()


def _row(source: _Source, first: TextLine, form: _Form, limit: int) -> list[str] | str:
    """The cells of the row that begins with a line, or why there are none; then only that line is used up."""
    used = [first]

    def lines() -> Iterator[str]:
        size = len(first.text)
        yield first.text
        while len(used) < _LINES and size <= limit and (line := source.next()) is not None:
            used.append(line)
            size += len(line.text)
            yield line.text

    try:
        cells = _cells(lines(), form.delimiter, form.quotes and '"' in first.text)
    except csv.Error as error:
        source.held.extendleft(reversed(used[1:]))
        return "a quoted cell never ends" if "unexpected end" in str(error) else str(error)
    if len(cells) != len(form.names):
        source.held.extendleft(reversed(used[1:]))
        return f"it has {len(cells)} cells in place of {len(form.names)}"
    return cells


def _cells(lines: Iterator[str], delimiter: str, quotes: bool) -> list[str]:
    """The cells of the first row; as many lines are taken as it has. A quote that stands wrong raises csv.Error."""
    if not quotes:
        return next(lines).rstrip("\r\n").split(delimiter)
    return next(csv.reader(lines, delimiter=delimiter, strict=True), [])

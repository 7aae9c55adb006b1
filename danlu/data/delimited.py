"""Tables of text: .csv, .tsv, and .txt with tabs.

Three things such a file does not say are detected and noted: what parts its cells, whether quotes enclose cells or are
characters of the text, and whether the first line is a header.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from danlu.data.example import Place
from danlu.data.names import KNOWN, plain_name
from danlu.data.rows import Row, Table

Cells = tuple[int, list[str]]
"""The line that a row begins at, and its cells."""

OWN = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
_OTHERS = (";", "\t", "|")
_NAMED = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "vertical bars"}
_ENCLOSED = re.compile(r'"(?:[^"]|"")*"', re.DOTALL)
_SAID = re.compile(r'"?sep=([^\r\n])"?(\r?\n)', re.IGNORECASE)
_NAME_LENGTH, _NAME_WORDS = 40, 4
_AGAIN = 4
"""Times that what stands in a column comes again, on average, so that it is a set of labels."""


@dataclass(frozen=True, slots=True)
class TableForm:
    """What a table does not say of itself; None is detected."""

    delimiter: str | None = None
    quotes: bool | None = None
    """True: quotes enclose cells. False: they are characters."""
    header: bool | None = None


def read_delimited(path: Path, text: str, *, ending: str, form: TableForm, named: Collection[str] = ()) -> Table:
    """The rows of a table.

    Args:
        named: columns that the recipe names: where the first line has them all, it is the header.

    Raises:
        InputError: a row has not as many cells as the first, a quoted cell never ends, a quote is said to part cells,
            or there is no row.
    """
    notes = []
    own = OWN[ending]
    said = _SAID.match(text)  # by Excel, in a line of its own that is no row
    if said is not None:
        text = text[said.start(2) :]  # a blank line, so that the others keep their numbers
    delimiter = form.delimiter or (said[1] if said is not None else _find_delimiter(text, own))
    if delimiter == '"':  # it encloses cells; csv.reader would take it for either
        raise Place(path, 1).error("a quote cannot part cells")
    if delimiter != own and form.delimiter is None:
        notes.append(f"cells parted by {_NAMED.get(delimiter, repr(delimiter))}")
    quotes = form.quotes if form.quotes is not None else delimiter != "\t" or _quotes_enclose(text, delimiter)
    if not quotes and form.quotes is None and _begins_with_quote(text, delimiter):
        notes.append("quotes are characters of the text")
    rows = list(_quoted(path, text, delimiter) if quotes else _plain(text, delimiter))
    if not rows:
        raise Place(path, 1).error("the file holds no row")
    filled = [row for row in rows if any(map(str.strip, row[1]))]
    if len(filled) < len(rows) and filled:
        empty = len(rows) - len(filled)
        notes.append(f"{empty:,} empty row{'s' * (empty != 1)} left out")
        rows = filled
    width = len(rows[0][1])
    for line, cells in rows:
        if len(cells) != width:
            count = f"{len(cells)} cell{'s' * (len(cells) != 1)}"
            raise Place(path, line).error(f"it has {count}, and the first row has {width}{_parted_by(delimiter, own)}")
    header = form.header if form.header is not None else has_header(rows, commas=own == ",", named=named)
    names = _names(path, rows[0][1]) if header else [str(place) for place in range(1, width + 1)]
    body = rows[1:] if header else rows
    if not body:
        raise Place(path, 1).error("the file holds no row below its header")
    found = tuple(Row(Place(path, line), dict(zip(names, cells, strict=True))) for line, cells in body)
    return Table(path, tuple(names), found, header, notes=(*notes, *([] if header else ["no header"])))


def _parted_by(delimiter: str, own: str) -> str:
    """How cells are parted, where the file's name does not say so."""
    return "" if delimiter == own else f" (cells parted by {_NAMED.get(delimiter, repr(delimiter))})"


def _names(path: Path, cells: Sequence[str]) -> list[str]:
    """Names of columns; one without a name, as pandas' index is, is called by its number."""
    names = [cell.strip() or str(place) for place, cell in enumerate(cells, 1)]
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise Place(path, 1).error(f"the header has several columns {twice!r}; where it is none, set header: false")
    return names


def has_header(rows: Sequence[Cells], *, commas: bool, named: Collection[str] = ()) -> bool:
    """Whether the first row names the columns.

    It does where it has a name that columns usually have, or where something that looks like a name stands over a
    column of numbers or of a few values that come again, be it a question, such as ``Spam?``; not where it has one of
    these values itself. Without a sign, a file with commas is taken to have a header, as pandas takes it; one with
    tabs is not.
    """
    first = [cell.strip() for cell in rows[0][1]]
    rest = [cells for _, cells in rows[1:]]
    if named and set(named) <= set(first):
        return True
    filled = [cell for cell in first if cell]
    if not filled or any(map(_may_be_a_number, filled)):
        return False
    columns = [[cells[place].strip() for cells in rest if len(cells) > place] for place in range(len(first))]
    if any(plain_name(cell) in KNOWN and cell not in column for cell, column in zip(first, columns, strict=True)):
        return True
    if len(set(filled)) < len(filled) and not _are_names_twice(first, columns):
        return False
    if not first[0] and len(filled) == len(first) - 1 and counts(columns[0]):  # pandas' index has no name
        return True
    few = [len(set(column)) * 2 <= len(column) for column in columns]
    asking = [each or all(map(_may_be_a_number, column)) for column, each in zip(columns, few, strict=True)]
    are_questions = any(each and cell[-1:] in ("?", "？") for cell, each in zip(first, asking, strict=True))
    asked = [cell.rstrip("?？") for cell in first] if are_questions else first
    if len(filled) < len(first) or not rest or not all(map(_is_like_a_name, asked)):
        return False
    if any(each and name in column for name, column, each in zip(first, columns, few, strict=True)):
        return False
    return commas or any(asking)


def _are_names_twice(first: Sequence[str], columns: Sequence[Sequence[str]]) -> bool:
    """Whether a first row that has something twice is a header nevertheless, which then is refused: where no cell of it
    stands in the column below it, though what stands in one of them comes again and again."""
    apart = all(cell not in column for cell, column in zip(first, columns, strict=True))
    return apart and any(len(set(column)) * _AGAIN <= len(column) for column in columns)


def counts(values: Sequence[str]) -> bool:
    """Whether these are the numbers of rows, from 0 or 1."""
    first = int(values[0]) if values and values[0].isdecimal() else -1
    return first in (0, 1) and all(value == str(number) for number, value in enumerate(values, first))


def is_number(text: str) -> bool:
    """Whether it is a number as Python spells them; ``nan`` and ``inf`` are words."""
    try:
        float(text)
    except ValueError:
        return False
    return any(letter.isdigit() for letter in text)


def _may_be_a_number(text: str) -> bool:
    """Whether it is a number with a point or a comma, whatever the comma means."""
    return is_number(text.replace(",", "."))


def _is_like_a_name(text: str) -> bool:
    return 0 < len(text) <= _NAME_LENGTH and len(text.split()) <= _NAME_WORDS and text[-1] not in ".,!?;。，！？；…"


def _find_delimiter(text: str, own: str) -> str:
    """The delimiter of the ending; in a .csv, another one where only that makes a table, or nearly one: where the first
    line has no comma, and most lines are parted into as many cells as that."""
    first, _, _ = text.lstrip("\r\n").partition("\n")
    if own != ",":
        return own
    nearly = []
    for delimiter in (own, *_OTHERS):
        if delimiter in first:
            try:
                widths = Counter(len(cells) for _, cells in _reader(text, delimiter))
            except csv.Error:
                continue
            if len(widths) == 1:
                return delimiter
            width = len(first.split(delimiter))
            if widths[width] * 2 > widths.total():
                nearly.append(delimiter)
    return nearly[0] if nearly and own not in first else own


def _quotes_enclose(text: str, delimiter: str) -> bool:
    """Whether quotes enclose cells, as spreadsheets write them, in a table with tabs: most have plain quotes.

    They do where all that have one are enclosed and something shows that it is no chance: a doubled quote, or a whole
    column of them; or where only so all rows have as many cells.
    """
    if '"' not in text:
        return False
    rows = [cells for _, cells in _plain(text, delimiter)]
    if len({len(cells) for cells in rows}) == 1:
        having = [cell for cells in rows for cell in cells if '"' in cell]
        if not all(_ENCLOSED.fullmatch(cell) for cell in having):
            return False
        columns = zip(*rows, strict=True)
        whole = any(all(cell.startswith('"') for cell in column) for column in columns)
        return whole or any('""' in cell[1:-1] for cell in having)
    try:
        return len({len(cells) for _, cells in _reader(text, delimiter)}) == 1
    except csv.Error:
        return False


def _begins_with_quote(text: str, delimiter: str) -> bool:
    """Whether it makes a difference how quotes are read."""
    return text.startswith('"') or any(f'{before}"' in text for before in ("\n", delimiter))


def _reader(text: str, delimiter: str) -> Iterator[Cells]:
    """Rows with quotes that enclose; blank lines are none. A csv.Error has the row's line as a second argument."""
    csv.field_size_limit(max(len(text), csv.field_size_limit()))  # a cell is a text of any length
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    number = 1
    try:
        for cells in rows:
            if cells:
                yield number, cells
            number = rows.line_num + 1
    except csv.Error as error:
        raise csv.Error(str(error), number) from None


def _quoted(path: Path, text: str, delimiter: str) -> Iterator[Cells]:
    try:
        yield from _reader(text, delimiter)
    except csv.Error as error:
        reason, number = error.args
        hint = "; where quotes are characters of the text, set quotes: false"
        raise Place(path, number).error(f"the table is damaged here: {reason}{hint}") from None


def _plain(text: str, delimiter: str) -> Iterator[Cells]:
    """Rows where a line is a row, whatever it holds; blank lines are none."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip("\r \t" if delimiter != "\t" else "\r "):
            yield number, line.removesuffix("\r").split(delimiter)

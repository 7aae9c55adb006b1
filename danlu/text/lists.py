"""A file with a list of texts, prompts or sentences, each of which counts; and the new file that answers to it.

Unlike a corpus (``readers.py``), which counts what it must leave out, a list is read whole or refused: the
answers stand in the order of its texts.
"""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from danlu.errors import InputError, OutputError, suggestion
from danlu.files import writing

TEXT = "text"
"""The field of a .jsonl file, or the column of a table, that is read where none is named."""


class Line(NamedTuple):
    """A text, and the number of the line that it begins at."""

    number: int
    text: str


def read_list(path: Path, *, field: str | None = None, default: str = TEXT) -> list[Line]:
    """All texts of a .txt file (a line is a text), a .jsonl file, or a .csv or .tsv table.

    Args:
        field: which field or column holds them; ``default`` where it is None.

    Raises:
        InputError: there is no such file, it holds no text, or a line cannot be read: file, line and reason.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"cannot tell how to read {str(path)!r} by its ending (choices: {', '.join(READERS)})")
    if field is not None and reader is _read_txt:
        raise InputError(f"{path} has no fields: a line is a text; a field or column ({field!r}) needs .jsonl or .csv")
    lines = list(reader(path, _content(path), default if field is None else field))
    if not lines:
        raise InputError(f"{path} holds no text")
    return lines


def check_new_file(path: Path, *endings: str) -> None:
    """Refuse a file that could not be written, before any work is done for it.

    Raises:
        OutputError: it exists, has another ending, or its folder cannot be written.
    """
    if path.suffix.lower() not in endings:
        raise OutputError(f"{path} must end in {' or '.join(endings)}, which says what is written")
    if path.exists():
        raise OutputError(f"{path} exists already; remove it or name another file")
    if not path.parent.is_dir():
        raise OutputError(f"cannot write to {path}: there is no folder {str(path.parent)!r}")
    with writing(path.parent):
        try:
            tempfile.TemporaryFile(dir=path.parent).close()
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None


def _content(path: Path) -> str:
    """The whole file as text."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        beside = sorted(str(each) for each in path.parent.glob("*.*")) if path.parent.is_dir() else []
        near = [each for each in beside if Path(each).suffix in READERS]
        raise InputError(f"there is no file {path}{suggestion(str(path), near[:10])}") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        hint = ", but UTF-16; save it as UTF-8" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else ""
        raise _unreadable(path, line, f"it is not UTF-8{hint}") from None


def _read_txt(path: Path, content: str, field: str) -> Iterator[Line]:
    for number, text in _lines(content):
        if "\0" in text:
            raise _unreadable(path, number, "it holds a NUL, as no text does")
        yield _line(path, number, text)


def _read_jsonl(path: Path, content: str, field: str) -> Iterator[Line]:
    for number, line in _lines(content):
        if not line.strip():
            raise _unreadable(path, number, "it is empty")
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _unreadable(path, number, f"it is not JSON: {error}") from None
        if not isinstance(record, dict):
            raise _unreadable(path, number, f"it must be an object; got {line.strip():.40}")
        if field not in record:
            raise _unreadable(path, number, f"it has no {field!r}{suggestion(field, record)}")
        if not isinstance(record[field], str):
            raise _unreadable(path, number, f"{field!r} must be text; got {record[field]!r:.40}")
        yield _line(path, number, record[field])


def _read_csv(path: Path, content: str, field: str) -> Iterator[Line]:
    yield from _read_table(path, content, field, delimiter=",")


def _read_tsv(path: Path, content: str, field: str) -> Iterator[Line]:
    yield from _read_table(path, content, field, delimiter="\t")


def _read_table(path: Path, content: str, field: str, *, delimiter: str) -> Iterator[Line]:
    """Rows below a header; a cell in quotes may go over several lines, and blank lines may end the table."""
    csv.field_size_limit(max(len(content), csv.field_size_limit()))  # a cell is a text of any length
    rows = csv.reader(io.StringIO(content.rstrip("\r\n"), newline=""), delimiter=delimiter, strict=True)
    number = 1
    try:
        header = next(rows, [])
        if header.count(field) != 1:
            what = "several columns" if field in header else "no column"
            raise _unreadable(path, 1, f"the header has {what} {field!r}{suggestion(field, header)}")
        number = rows.line_num + 1
        for cells in rows:
            if len(cells) != len(header):
                what = f"it has {len(cells)} cells and the header {len(header)}" if cells else "it is empty"
                raise _unreadable(path, number, what)
            yield _line(path, number, cells[header.index(field)])
            number = rows.line_num + 1
    except csv.Error as error:
        raise _unreadable(path, number, f"the table is damaged here: {error}") from None


READERS: dict[str, Callable[[Path, str, str], Iterator[Line]]] = {
    ".txt": _read_txt,
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
}
"""By the ending of the file: its name, its content and the field to its texts."""


def _lines(content: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers; only a newline ends one, and the last may lack it."""
    lines = content.split("\n")
    if not lines[-1]:
        lines.pop()
    return ((number, line.removesuffix("\r")) for number, line in enumerate(lines, start=1))


def _line(path: Path, number: int, text: str) -> Line:
    if not text.strip():
        raise _unreadable(path, number, "the text is empty")
    try:
        text.encode()
    except UnicodeEncodeError:  # JSON can spell half a surrogate pair, which is no character
        raise _unreadable(path, number, "half a surrogate pair is no character") from None
    return Line(number, text)


def _unreadable(path: Path, number: int, reason: str) -> InputError:
    return InputError(f"{path}, line {number}: {reason}")

"""One reader a file format: from a file to its records, good and bad.

A reader is a function ``(path, text_field) -> records``; the catalog maps the end of a file name to
it. What cannot be read comes out as :class:`Rejected` and reading goes on where that is possible.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from danlu import catalog


@dataclass(slots=True)
class Raw:
    """A record as it stands in a file: its number there from 0, its text, its other string fields."""

    number: int
    text: str
    fields: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Rejected:
    """A record that cannot be read: its number, why (a short phrase that is counted), and where exactly."""

    number: int
    reason: str
    detail: str = ""


Reader = Callable[[Path, str], Iterator[Raw | Rejected]]


def reader_for(path: Path) -> Reader | None:
    """The reader whose suffix ends the file's name, the longest first; None where no reader fits."""
    name = path.name.lower()
    for suffix in sorted(catalog.names("reader"), key=len, reverse=True):
        if name.endswith(suffix):
            reader: Reader = catalog.load("reader", suffix, key="reader")
            return reader
    return None


def read_txt(path: Path, text_field: str) -> Iterator[Raw | Rejected]:
    """A text file is one record, whole; one with a NUL byte or invalid UTF-8 is rejected whole."""
    content = path.read_bytes()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        yield Rejected(0, "not UTF-8", "UTF-16 by its first two bytes; save it as UTF-8")
    elif b"\0" in content:
        yield Rejected(0, "binary", f"NUL at byte {content.index(0)}")
    else:
        try:
            yield Raw(0, content.decode())
        except UnicodeDecodeError as error:
            yield Rejected(0, "not UTF-8", f"at byte {error.start}: 0x{content[error.start]:02x}")


def read_jsonl(path: Path, text_field: str) -> Iterator[Raw | Rejected]:
    """One JSON object a line; lines of white space alone are no records."""
    with path.open("rb") as file:
        yield from _json_records(file, text_field)


def read_jsonl_gz(path: Path, text_field: str) -> Iterator[Raw | Rejected]:
    """Gzip-compressed JSON lines; where the file is damaged, the rest of it is one rejected record."""
    if path.stat().st_size == 0:  # which gzip takes for a stream of nothing
        yield Rejected(0, "truncated gzip", "the file is empty")
        return
    number = -1
    try:
        with gzip.open(path, "rb") as file:
            for record in _json_records(file, text_field):
                number = record.number
                yield record
    except EOFError:
        yield Rejected(number + 1, "truncated gzip", f"the file ends early, after {number + 1} whole records")
    except (gzip.BadGzipFile, zlib.error) as error:
        yield Rejected(number + 1, "damaged gzip", str(error))


def _json_records(lines: Iterable[bytes], text_field: str) -> Iterator[Raw | Rejected]:
    number = 0
    offset = 0
    for line in lines:
        if line.strip():
            yield _json_record(line, number, offset, text_field)
            number += 1
        offset += len(line)


def _json_record(line: bytes, number: int, offset: int, text_field: str) -> Raw | Rejected:
    place = f"at byte {offset}"
    try:
        record = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return Rejected(number, "not UTF-8", f"at byte {offset + error.start}")
    except (ValueError, RecursionError) as error:
        return Rejected(number, "broken JSON", f"{place}: {error}")
    if not isinstance(record, dict):
        return Rejected(number, "not a JSON object", place)
    if text_field not in record:
        return Rejected(number, f"no field {text_field!r}", f"{place}; it has: {', '.join(record)}")
    return _checked(number, record.pop(text_field), record, text_field, place)


def _checked(number: int, text: Any, others: dict[str, Any], text_field: str, place: str) -> Raw | Rejected:
    if not isinstance(text, str):
        return Rejected(number, f"field {text_field!r} is not text", f"{place}: {type(text).__name__}")
    strings = {name: value for name, value in others.items() if isinstance(value, str)}
    try:
        "".join([text, *strings, *strings.values()]).encode()
    except UnicodeEncodeError:  # JSON can spell half a surrogate pair, which is no character
        return Rejected(number, "not Unicode", f"{place}: half a surrogate pair")
    return Raw(number, text, strings)


def read_parquet(path: Path, text_field: str) -> Iterator[Raw | Rejected]:
    """One record a row, of the columns that hold strings; a damaged file is one rejected record from there on."""
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if text_field not in names:
                yield Rejected(0, f"no field {text_field!r}", f"the columns are: {', '.join(names)}")
                return
            kinds = zip(names, file.schema_arrow.types, strict=True)
            strings = [name for name, kind in kinds if name == text_field or _is_string(kind)]
            for batch in file.iter_batches(batch_size=1024, columns=strings):
                for row in range(batch.num_rows):
                    yield _parquet_row(batch, row, number, text_field)
                    number += 1
    except (pyarrow.ArrowException, OSError) as error:
        yield Rejected(number, "damaged parquet" if number else "not parquet", " ".join(str(error).split())[:200])


def _is_string(kind: Any) -> bool:
    import pyarrow.types

    return bool(pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind))


def _parquet_row(batch: Any, row: int, number: int, text_field: str) -> Raw | Rejected:
    try:
        record = {name: batch.column(name)[row].as_py() for name in batch.schema.names}
    except UnicodeDecodeError:
        return Rejected(number, "not UTF-8", f"row {number}")
    return _checked(number, record.pop(text_field), record, text_field, f"row {number}")

"""Items of evaluation sets, as the texts in them: from .jsonl, .json, .csv, .tsv, .parquet and .txt files."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, TextIO

from danlu.errors import InputError, suggestion

Item = list[str]
"""The texts of one item: its question, its choices, its passage."""


def read_items(path: Path, fields: Collection[str] | None) -> Iterator[Item]:
    """The items of a file, in order; those without any text are empty lists.

    Args:
        fields: whose texts count, at the top of a record or anywhere inside it; all where it is None.

    Raises:
        InputError: the file cannot be read, or has no such field.
    """
    packed = path.suffix.lower() == ".gz"
    reader = READERS.get(Path(path.stem).suffix.lower() if packed else path.suffix.lower())
    if reader is None or (packed and reader is _read_parquet):
        raise InputError(f"cannot tell how to read {str(path)!r} by its ending (choices: {', '.join(READERS)}, .gz)")
    missing = set(fields or ())
    try:
        for record in reader(path):
            if fields is None:
                yield list(_texts(record))
                continue
            chosen = {name: list(_named(record, name)) for name in fields}
            missing -= {name for name, values in chosen.items() if values}
            yield [text for values in chosen.values() for value in values for text in _texts(value)]
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read: {' '.join(str(error).split())[:200]}") from None
    if missing:
        names = sorted({name for record in reader(path) for name in _names(record)})
        raise InputError(f"{path}: no record has a field {min(missing)!r}{suggestion(min(missing), names)}")


def _texts(value: Any) -> Iterator[str]:
    """All texts in a value, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _named(value: Any, name: str) -> Iterator[Any]:
    """What fields of this name hold, however deep."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == name:
                yield inner
            else:
                yield from _named(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _named(inner, name)


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from _names(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _names(inner)


def _opened(path: Path, newline: str = "\n") -> TextIO:
    """A text file, packed or not; by default nothing but a newline ends a line."""
    if path.suffix.lower() == ".gz":
        return io.TextIOWrapper(gzip.open(path), encoding="utf-8-sig", newline=newline)
    return path.open(encoding="utf-8-sig", newline=newline)


def _read_txt(path: Path) -> Iterator[Any]:
    """A line is an item."""
    with _opened(path) as lines:
        yield from ({"text": line.removesuffix("\n")} for line in lines if line.strip())


def _read_jsonl(path: Path) -> Iterator[Any]:
    with _opened(path) as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise ValueError(f"line {number}: {error}") from None


def _read_json(path: Path) -> Iterator[Any]:
    """A list's items, or those of the one list in an object (``data`` of SQuAD); else the whole is one item.

    It is read whole.
    """
    with _opened(path) as file:
        whole = json.load(file)
    if isinstance(whole, dict):
        lists = [value for value in whole.values() if isinstance(value, list)]
        whole = lists[0] if len(lists) == 1 else [whole]
    yield from whole if isinstance(whole, list) else [whole]


def _read_csv(path: Path) -> Iterator[Any]:
    return _read_table(path, ",", csv.QUOTE_MINIMAL)


def _read_tsv(path: Path) -> Iterator[Any]:
    return _read_table(path, "\t", csv.QUOTE_NONE)


def _read_table(path: Path, delimiter: str, quoting: Any) -> Iterator[Any]:
    """Rows by the names in the first one; that one counts as an item too, for it may be no header."""
    csv.field_size_limit(sys.maxsize)
    with _opened(path, newline="") as lines:
        rows = csv.reader(lines, delimiter=delimiter, quoting=quoting)
        header = next(rows, [])
        yield dict(zip(header, header, strict=True))
        for cells in rows:
            names = [*header, *(f"column {place}" for place in range(len(header), len(cells)))]
            yield dict(zip(names, cells, strict=False))


def _read_parquet(path: Path) -> Iterator[Any]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                yield from batch.to_pylist()
    except pyarrow.ArrowException as error:
        raise ValueError(str(error)) from None


READERS: dict[str, Callable[[Path], Iterator[Any]]] = {
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".parquet": _read_parquet,
    ".txt": _read_txt,
}
"""By the ending of the file: its records."""

"""Tables that know their types: Parquet, and Arrow's own files, which Feather writes too. A record is a row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from danlu.readers.exhausted import check_blame
from danlu.readers.limits import Budget, budget_of
from danlu.readers.record import SAID_HERE, Content, Raw, Rejected, Wanted, checked
from danlu.readers.row_groups import RowGroups

BATCH_ROWS, BATCH_BYTES = 256, 64 << 20
"""Rows in memory at a time, and about how much they may take."""


def read_parquet(content: Content, wanted: Wanted) -> Iterator[Raw | Rejected]:
    """One record a row, of the columns that hold strings; of a damaged row group the rest is one rejected record."""
    import pyarrow

    try:
        with content.local() as path, _opened(path) as file:
            columns = _columns(file.schema_arrow, wanted)
            if isinstance(columns, Rejected):
                yield columns
                return
            part, budget = content if isinstance(content, RowGroups) else None, budget_of(content, wanted)
            start = part.row if part else 0
            for group in range(part.first, part.behind) if part else range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                yield from _counted(_row_group(file, group, columns, wanted, start, start + rows), budget)
                start += rows
    except (pyarrow.ArrowException, OSError, KeyError) as error:  # a KeyError where names of columns are damaged
        check_blame(error, content.name)
        yield Rejected(0, "not parquet", _in_short(error))


def _row_group(
    file: Any, group: int, columns: list[str], wanted: Wanted, start: int, end: int
) -> Iterator[Raw | Rejected]:
    import pyarrow

    number = start
    try:
        for batch in file.iter_batches(batch_size=_batch_rows(file, group), row_groups=[group], columns=columns):
            yield from _rows(batch, number, wanted)
            number += batch.num_rows
    except (pyarrow.ArrowException, OSError) as error:
        check_blame(error, f"row group {group}")
        lost = f"row group {group}, rows {number} to {end - 1}: {_in_short(error)}"
        yield Rejected(number, "damaged parquet", lost)


def _batch_rows(file: Any, group: int) -> int:
    """As many rows as take no more than some memory, where all are of one size."""
    whole = file.metadata.row_group(group)
    fitting = BATCH_BYTES * int(whole.num_rows) // max(1, int(whole.total_byte_size))
    return max(1, min(BATCH_ROWS, fitting))


def _dictionaries(metadata: Any) -> list[str]:
    """The columns whose values are stored once and said by number: so they are read, for few bytes may be many rows."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    columns = [group.column(number) for group in groups for number in range(group.num_columns)]
    return list(dict.fromkeys(column.path_in_schema for column in columns if column.has_dictionary_page))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import pyarrow.parquet

    metadata = pyarrow.parquet.read_metadata(path)
    with pyarrow.parquet.ParquetFile(
        path, metadata=metadata, buffer_size=1 << 20, page_checksum_verification=True,
        read_dictionary=_dictionaries(metadata),
    ) as file:  # fmt: skip
        yield file


def _counted(records: Iterator[Raw | Rejected], budget: Budget) -> Iterator[Raw | Rejected]:
    """The same, up to where their texts and fields are more than a file of its size may hold.

    Raises:
        TooLarge: there.
    """
    for record in records:
        if isinstance(record, Raw):
            fields = sum(len(name) + len(value) for name, value in record.fields.items())
            budget.spend(len(record.text) + fields, 0)
        yield record


def read_arrow(content: Content, wanted: Wanted) -> Iterator[Raw | Rejected]:
    """One record a row, of the columns that hold strings; behind damage nothing is read."""
    import pyarrow

    number = 0
    try:
        with content.local() as path, pyarrow.memory_map(str(path)) as file:
            reader, batches = _arrow_batches(file)
            columns = _columns(reader.schema, wanted)
            if isinstance(columns, Rejected):
                yield columns
                return
            budget = budget_of(content, wanted)
            for whole in batches:
                batch = whole.select(columns)
                _check(batch)
                yield from _counted(_rows(batch, number, wanted), budget)
                number += batch.num_rows
    except (pyarrow.ArrowException, OSError, UnicodeError) as error:
        check_blame(error, content.name)
        yield Rejected(number, "damaged arrow" if number else "not arrow", _in_short(error))


def _arrow_batches(file: Any) -> tuple[Any, Iterator[Any]]:
    """A file of Arrow's, with a table of contents, or the stream that ``datasets`` saves."""
    import pyarrow

    try:
        reader = pyarrow.ipc.open_file(file)
        return reader, (reader.get_batch(number) for number in range(reader.num_record_batches))
    except pyarrow.ArrowInvalid:
        file.seek(0)
        reader = pyarrow.ipc.open_stream(file)
        return reader, iter(reader)


def _check(batch: Any) -> None:
    """Look at what a damaged file could make read beyond its memory; bytes that are not UTF-8 are told row by row."""
    import pyarrow

    try:
        batch.validate(full=True)
    except pyarrow.ArrowInvalid as error:
        if "UTF8" not in str(error).upper():
            raise
        for column in batch.columns:
            _as_bytes(column).validate(full=True)


def _as_bytes(column: Any) -> Any:
    """A column of text as one of bytes; rows that share a value share it still."""
    import pyarrow
    import pyarrow.types as kinds

    column.validate()
    if kinds.is_dictionary(column.type):  # which looks at the indices too
        return pyarrow.DictionaryArray.from_arrays(column.indices, _as_bytes(column.dictionary))
    if kinds.is_string_view(column.type):
        return column.cast(pyarrow.binary_view())
    return column.cast(pyarrow.large_binary()) if _is_text(column.type) else column


def _columns(schema: Any, wanted: Wanted) -> list[str] | Rejected:
    """The columns of text, the one that is wanted first."""
    names = schema.names
    if wanted.text_field not in names:
        return Rejected(0, f"no field {wanted.text_field!r}", f"the columns are: {', '.join(names)}")
    if len(set(names)) < len(names):
        return Rejected(0, "columns of one name", f"the columns are: {', '.join(names)}")
    texts = [name for name, kind in zip(names, schema.types, strict=True) if _is_text(kind)]
    return [wanted.text_field, *(name for name in texts if name not in (wanted.text_field, *SAID_HERE))]


def _is_text(kind: Any) -> bool:
    import pyarrow.types as kinds

    kind = kind.value_type if kinds.is_dictionary(kind) else kind
    return bool(kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind))


def _rows(batch: Any, number: int, wanted: Wanted) -> Iterator[Raw | Rejected]:
    """The records of a batch, whose first row has that number; one at a time, for many may share one long value."""
    names, columns = batch.schema.names, batch.columns
    for place in range(batch.num_rows):
        where = f"row {number + place}"
        cells = [_value(column[place]) for column in columns]
        if any(isinstance(cell, UnicodeDecodeError) for cell in cells):
            yield Rejected(number + place, "not UTF-8", where)
        elif any(isinstance(cell, str) and len(cell) > wanted.record_bytes for cell in cells):
            long = f"{where} is longer than {wanted.record_bytes:,} bytes (record_bytes)"
            yield Rejected(number + place, "too long", long)
        else:
            others = dict(zip(names[1:], cells[1:], strict=True))
            yield checked(Raw(number + place, ""), cells[0], others, wanted.text_field, where)


def _value(cell: Any) -> Any:
    try:
        return cell.as_py()
    except UnicodeDecodeError as error:
        return error


def _in_short(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]

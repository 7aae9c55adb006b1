"""Tables that know their types: Parquet, and Arrow's own files, which Feather writes too. A record is a row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from danlu.readers.exhausted import check_blame
from danlu.readers.record import ENCODING, Content, Raw, Rejected, Wanted, checked
from danlu.readers.row_groups import RowGroups

BATCH_ROWS = 256
"""Rows in memory at a time."""


def read_parquet(content: Content, wanted: Wanted) -> Iterator[Raw | Rejected]:
    """One record a row, of the columns that hold strings; of a damaged row group the rest is one rejected record."""
    import pyarrow
    import pyarrow.parquet

    try:
        with (
            content.local() as path,
            pyarrow.parquet.ParquetFile(path, buffer_size=1 << 20, page_checksum_verification=True) as file,
        ):
            columns = _columns(file.schema_arrow, wanted)
            if isinstance(columns, Rejected):
                yield columns
                return
            part = content if isinstance(content, RowGroups) else None
            start = part.row if part else 0
            for group in range(part.first, part.behind) if part else range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                yield from _row_group(file, group, columns, wanted, start, start + rows)
                start += rows
    except (pyarrow.ArrowException, OSError) as error:
        check_blame(error, content.name)
        yield Rejected(0, "not parquet", _in_short(error))


def _row_group(
    file: Any, group: int, columns: list[str], wanted: Wanted, start: int, end: int
) -> Iterator[Raw | Rejected]:
    import pyarrow

    number = start
    try:
        for batch in file.iter_batches(batch_size=BATCH_ROWS, row_groups=[group], columns=columns):
            yield from _rows(batch, number, wanted)
            number += batch.num_rows
    except (pyarrow.ArrowException, OSError) as error:
        check_blame(error, f"row group {group}")
        lost = f"row group {group}, rows {number} to {end - 1}: {_in_short(error)}"
        yield Rejected(number, "damaged parquet", lost)


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
            for whole in batches:
                batch = whole.select(columns)
                _check(batch)
                for start in range(0, batch.num_rows, BATCH_ROWS):
                    yield from _rows(batch.slice(start, BATCH_ROWS), number + start, wanted)
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
            column.cast(pyarrow.large_binary()).validate(full=True)


def _columns(schema: Any, wanted: Wanted) -> list[str] | Rejected:
    """The columns of text, the one that is wanted first."""
    import pyarrow.types as kinds

    names = schema.names
    if wanted.text_field not in names:
        return Rejected(0, f"no field {wanted.text_field!r}", f"the columns are: {', '.join(names)}")
    if len(set(names)) < len(names):
        return Rejected(0, "columns of one name", f"the columns are: {', '.join(names)}")

    def is_text(kind: Any) -> bool:
        kind = kind.value_type if kinds.is_dictionary(kind) else kind
        return bool(kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind))

    texts = [name for name, kind in zip(names, schema.types, strict=True) if is_text(kind)]
    return [wanted.text_field, *(name for name in texts if name not in (wanted.text_field, ENCODING))]


def _rows(batch: Any, number: int, wanted: Wanted) -> Iterator[Raw | Rejected]:
    """The records of a batch, whose first row has that number."""
    try:
        columns = {name: batch.column(name).to_pylist() for name in batch.schema.names}
    except UnicodeDecodeError:
        columns = {name: [_value(cell) for cell in batch.column(name)] for name in batch.schema.names}
    names = list(columns)
    for place, cells in enumerate(zip(*columns.values(), strict=True), number):
        where = f"row {place}"
        if any(isinstance(cell, UnicodeDecodeError) for cell in cells):
            yield Rejected(place, "not UTF-8", where)
        elif isinstance(cells[0], str) and len(cells[0]) > wanted.record_bytes:
            yield Rejected(place, "too long", f"{where} is longer than {wanted.record_bytes:,} bytes (record_bytes)")
        else:
            others = dict(zip(names[1:], cells[1:], strict=True))
            yield checked(Raw(place, ""), cells[0], others, wanted.text_field, where)


def _value(cell: Any) -> Any:
    try:
        return cell.as_py()
    except UnicodeDecodeError as error:
        return error


def _in_short(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]

"""Tables that know their types."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from danlu.readers.record import Content, Raw, Rejected, Wanted, checked


def read_parquet(content: Content, wanted: Wanted) -> Iterator[Raw | Rejected]:
    """One record a row, of the columns that hold strings; a damaged file is one rejected record from there on."""
    import pyarrow
    import pyarrow.parquet

    number = 0
    text_field = wanted.text_field
    try:
        with content.local() as path, pyarrow.parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if text_field not in names:
                yield Rejected(0, f"no field {text_field!r}", f"the columns are: {', '.join(names)}")
                return
            kinds = zip(names, file.schema_arrow.types, strict=True)
            strings = [name for name, kind in kinds if name == text_field or _is_string(kind)]
            for batch in file.iter_batches(batch_size=1024, columns=strings):
                for row in range(batch.num_rows):
                    yield _row(batch, row, number, text_field)
                    number += 1
    except (pyarrow.ArrowException, OSError) as error:
        yield Rejected(number, "damaged parquet" if number else "not parquet", " ".join(str(error).split())[:200])


def _is_string(kind: Any) -> bool:
    import pyarrow.types

    return bool(pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind))


def _row(batch: Any, row: int, number: int, text_field: str) -> Raw | Rejected:
    try:
        record = {name: batch.column(name)[row].as_py() for name in batch.schema.names}
    except UnicodeDecodeError:
        return Rejected(number, "not UTF-8", f"row {number}")
    return checked(Raw(number, ""), record.pop(text_field), record, text_field, f"row {number}")

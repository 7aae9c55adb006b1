"""A range of the row groups of a Parquet file, which is read as the same rows of the whole file would be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from danlu.readers.record import Content, LocalFile


@dataclass(frozen=True, slots=True)
class RowGroups:
    """The row groups from ``first`` to before ``behind`` of a file; ``row`` is the number of their first row."""

    inner: LocalFile
    first: int
    behind: int
    row: int
    size: int | None
    """Bytes as stored; the first range has those that are of no row group too."""

    @property
    def name(self) -> str:
        return self.inner.name

    def open(self) -> BinaryIO:
        raise NotImplementedError("row groups are read with the end of their file")

    def places(self) -> tuple[int, int]:
        """From which byte of the file to which its row groups stand."""
        import pyarrow.parquet

        with pyarrow.parquet.ParquetFile(self.inner.path) as file:
            groups = [file.metadata.row_group(number) for number in range(self.first, self.behind)]
            columns = [group.column(number) for group in groups for number in range(group.num_columns)]
        begins = [_begin(column) for column in columns]
        ends = [begin + column.total_compressed_size for begin, column in zip(begins, columns, strict=True)]
        return min(begins, default=0), max(ends, default=0)

    def local(self) -> AbstractContextManager[Path]:
        return self.inner.local()


def cut_parquet(content: LocalFile, size: int) -> list[Content]:
    """``content`` in ranges of row groups of about ``size`` bytes each; itself where it is no Parquet, or one range."""
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(content.path) as file:
            groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
            rows = [group.num_rows for group in groups]
            stored = [_stored(group) for group in groups]
    except (pyarrow.ArrowException, OSError):
        return [content]  # reading it tells what is wrong
    if not stored:
        return [content]
    stored[0] += (content.size or 0) - sum(stored)
    return [
        RowGroups(content, first, behind, sum(rows[:first]), sum(stored[first:behind]))
        for first, behind in _ranges(stored, size)
    ]


def _begin(column: Any) -> int:
    """Where the first page of a column is: of its dictionary, where it has one."""
    first = column.dictionary_page_offset if column.has_dictionary_page else None
    return int(first or column.data_page_offset)


def _stored(group: Any) -> int:
    return sum(group.column(number).total_compressed_size for number in range(group.num_columns))


def _ranges(stored: list[int], size: int) -> Iterator[tuple[int, int]]:
    """Neighbours together while they fit; one that is larger stands alone."""
    first = 0
    for number in range(1, len(stored) + 1):
        if number == len(stored) or sum(stored[first : number + 1]) > size:
            yield first, number
            first = number

"""Portions: the files, or parts of one, that one process cleans at a time.

Portions are the same however many processes there are, and so is all that is made of them: a portion becomes one shard.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from danlu.clean.source_parts import source_parts
from danlu.readers.record import Raw, Rejected
from danlu.readers.row_groups import RowGroups
from danlu.readers.slices import Slice
from danlu.readers.sources import Source, SourceFile

SHOWN = 3
"""Files of a portion that are named."""


@dataclass(frozen=True, slots=True)
class Portion:
    """What becomes one shard of documents; picklable."""

    number: int
    files: tuple[SourceFile, ...]
    parts: tuple[int, ...]
    """Of each file, the number of the part of the sources that it is counted with."""
    size: int
    """Bytes as they were stored when the files were found."""

    @property
    def source(self) -> Source:
        """Of all its files."""
        return self.files[0].source

    @property
    def named(self) -> str:
        """Its first files, and how many more, for people."""
        more = f" and {len(self.files) - SHOWN} more files" if len(self.files) > SHOWN else ""
        return ", ".join(map(_named, self.files[:SHOWN])) + more

    def records(self) -> Iterator[tuple[SourceFile, Raw | Rejected]]:
        """Every record of every file, in order."""
        for file in self.files:
            for record in file.records():
                yield file, record

    def records_in_parts(self) -> Iterator[tuple[int, SourceFile, Raw | Rejected]]:
        """The same with the parts that they are counted with."""
        parts = {file.name: part for file, part in zip(self.files, self.parts, strict=True)}
        for file, record in self.records():
            yield parts[file.name], file, record


def _named(file: SourceFile) -> str:
    name = str(file.path or file.name)
    match file.content:
        case Slice() as part:
            return f"{name} (bytes {part.start:,} to {part.end:,})"
        case RowGroups() as part:
            return f"{name} (row groups {part.first:,} to {part.behind - 1:,})"
    return name


def portions(files: Sequence[SourceFile], *, size: int) -> list[Portion]:
    """``files``, or their parts, in order: of one source, and as many a portion as ``size`` bytes hold, or one."""
    found: list[Portion] = []
    together: list[SourceFile] = []
    parts: list[int] = []
    room = size
    counted_with = zip(files, source_parts(files)[1], strict=True)
    for file, part in ((piece, part) for each, part in counted_with for piece in each.parts(size)):
        needed = file.content.size or 0
        if together and (needed > room or file.source is not together[-1].source):
            found.append(Portion(len(found), tuple(together), tuple(parts), size - room))
            together, parts, room = [], [], size
        together.append(file)
        parts.append(part)
        room -= needed
    if together:
        found.append(Portion(len(found), tuple(together), tuple(parts), size - room))
    return found

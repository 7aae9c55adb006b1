"""Portions: the files, or parts of one, that one process cleans at a time.

Portions are the same however many processes there are, and so is all that is made of them: a portion becomes one shard.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from danlu.readers.record import Raw, Rejected
from danlu.readers.sources import Source, SourceFile


@dataclass(frozen=True, slots=True)
class Portion:
    """What becomes one shard of documents; picklable."""

    number: int
    files: tuple[SourceFile, ...]

    @property
    def size(self) -> int:
        """Bytes as they are stored."""
        return sum(file.content.size or 0 for file in self.files)

    @property
    def source(self) -> Source:
        """Of all its files."""
        return self.files[0].source

    def records(self) -> Iterator[tuple[SourceFile, Raw | Rejected]]:
        """Every record of every file, in order."""
        for file in self.files:
            for record in file.records():
                yield file, record


def portions(files: Sequence[SourceFile], *, size: int) -> list[Portion]:
    """``files``, or their parts, in order: of one source, and as many a portion as ``size`` bytes hold, or one."""
    found: list[Portion] = []
    together: list[SourceFile] = []
    room = size
    for file in chain.from_iterable(each.parts(size) for each in files):
        needed = file.content.size or 0
        if together and (needed > room or file.source is not together[-1].source):
            found.append(Portion(len(found), tuple(together)))
            together, room = [], size
        together.append(file)
        room -= needed
    if together:
        found.append(Portion(len(found), tuple(together)))
    return found

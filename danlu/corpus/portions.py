"""Portions: the documents that one process encodes at a time.

Shards of documents, one behind the other, are cut into stretches of equal length; a document belongs to the portion in
which its line begins. Portions are the same however many processes there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from danlu.text.document import Document, read_shard

FEWEST_BYTES, MOST_BYTES = 4 << 20, 64 << 20
"""Of a portion: enough that a process has something to do, and little enough that a lost one costs little."""
PORTIONS = 256
"""How many there are between the two: all cores should have some, and end at about the same time."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """The documents of a shard whose lines begin between these bytes."""

    shard: Path
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Portion:
    """Stretches behind each other; picklable."""

    number: int
    stretches: tuple[Stretch, ...]

    @property
    def size(self) -> int:
        """Bytes of the shards."""
        return sum(stretch.end - stretch.start for stretch in self.stretches)

    @property
    def named(self) -> str:
        """Where it begins, for people."""
        first = self.stretches[0]
        return f"{first.shard.name}, byte {first.start:,}"

    def documents(self) -> Iterator[Document]:
        """Those of all stretches, in order.

        Raises:
            InputError: a shard is damaged; the line says where.
        """
        for stretch in self.stretches:
            yield from read_shard(stretch.shard, stretch.start, stretch.end)


def portions(shards: Sequence[Path]) -> list[Portion]:
    """The portions of ``shards``, in order."""
    sizes = [shard.stat().st_size for shard in shards]
    size = min(MOST_BYTES, max(FEWEST_BYTES, -(-sum(sizes) // PORTIONS)))
    found: list[Portion] = []
    stretches: list[Stretch] = []
    room = size
    for shard, length in zip(shards, sizes, strict=True):
        start = 0
        while start < length:
            end = min(length, start + room)
            stretches.append(Stretch(shard, start, end))
            room -= end - start
            start = end
            if not room:
                found.append(Portion(len(found), tuple(stretches)))
                stretches, room = [], size
    if stretches:
        found.append(Portion(len(found), tuple(stretches)))
    return found

"""Files of lines, a line at a time in bounded memory: what is longer than a record may be is passed over unread."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from danlu.readers.record import Rejected

_PIECE = 1 << 20


class Line(NamedTuple):
    """A line with its end; ``content`` is None where it is longer than a record may be, and was not kept."""

    number: int
    offset: int
    content: bytes | None


def read_lines(file: BinaryIO, limit: int) -> Iterator[Line]:
    """The lines of a file, numbered from 0, each of ``limit`` bytes at most."""
    number = offset = 0
    while line := file.readline(limit + 1):
        if len(line) > limit and not line.endswith(b"\n"):
            length = len(line) + _skip_line(file)
            yield Line(number, offset, None)
        else:
            length = len(line)
            yield Line(number, offset, line)
        offset += length
        number += 1


def too_long(line: Line, limit: int) -> Rejected:
    """What a line beyond the limit comes out as."""
    detail = f"at byte {line.offset}: the line is longer than {limit:,} bytes (record_bytes)"
    return Rejected(line.number, "too long", detail, line.offset)


def _skip_line(file: BinaryIO) -> int:
    skipped = 0
    while piece := file.readline(_PIECE):
        skipped += len(piece)
        if piece.endswith(b"\n"):
            break
    return skipped

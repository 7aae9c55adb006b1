"""A file cut into parts that are read apart, in parallel, and give the same records as the file read in one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from danlu.readers.lines import Lines
from danlu.readers.reading import is_packed, kind
from danlu.readers.record import Content, LocalFile, Wanted
from danlu.readers.row_groups import cut_parquet
from danlu.readers.slices import Slice
from danlu.text import cuts
from danlu.text.encodings import WIDE, Detected

_PIECE = 1 << 20
_TEXT, _LINES = (".txt", ".text"), (".jsonl", ".ndjson")


def cut_content(content: Content, wanted: Wanted, size: int) -> list[Content]:
    """``content`` in ranges of about ``size`` bytes that end where a record does; itself where it cannot be cut.

    A file of lines on this machine can be, if it is not packed; it is read once for that, to count its lines. So can
    Parquet, between row groups.
    """
    if not isinstance(content, LocalFile) or (content.size or 0) <= size:
        return [content]
    if content.name.lower().endswith(".parquet"):
        return cut_parquet(content, size)
    blank = isinstance(wanted.documents, cuts.Paragraphs)
    ending = kind(content.name, wanted.read_as)
    is_text = ending in _TEXT and isinstance(wanted.documents, cuts.Lines | cuts.Paragraphs)
    if not (ending in _LINES or is_text) or is_packed(content.name):
        return [content]
    detected = _detect(content, wanted)
    if detected.encoding in WIDE:
        return [content]
    with content.open() as file:
        return [Slice(content, *place, detected) for place in _ranges(file, size, blank and is_text)]


def _detect(content: Content, wanted: Wanted) -> Detected:
    """What reading it in one would find."""
    with content.open() as file:
        lines = Lines(content, wanted, file)
        for _ in lines.raw():
            if lines.detected is not None:
                break
    return lines.detected or Detected("utf-8")


def _ranges(file: BinaryIO, size: int, blank: bool) -> Iterator[tuple[int, int, int]]:
    """(first byte, byte behind the last, number of the first line) of each range.

    Args:
        blank: whether a range has to end with a blank line.
    """
    start = line = 0
    while True:
        length, lines = _range(file, size, blank)
        if not length:
            return
        yield start, start + length, line
        start, line = start + length, line + lines


def _range(file: BinaryIO, size: int, blank: bool) -> tuple[int, int]:
    """Read ``size`` bytes and on to the end of a line, or of a blank line; how many bytes and lines these were."""
    length = lines = 0
    while length < size - 1 and (piece := file.read(min(_PIECE, size - 1 - length))):
        length += len(piece)
        lines += piece.count(b"\n")
    begun = True  # the line was: whether it is blank is not known
    while piece := file.readline(_PIECE):
        length += len(piece)
        ended = piece.endswith(b"\n")
        lines += ended
        if ended and (not blank or (not begun and not piece.strip())):
            break
        begun = not ended
    return length, lines

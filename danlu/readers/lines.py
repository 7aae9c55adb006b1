"""Files of lines, a line at a time in bounded memory: what is longer than a record may be is passed over unread."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from danlu.readers.ahead import Ahead
from danlu.readers.record import Content, Damaged, Rejected, Wanted
from danlu.readers.slices import Slice
from danlu.text.encodings import (
    SAMPLE_BYTES,
    SEVEN_BIT,
    WIDE,
    Detected,
    detect,
    is_line_of_utf8,
    is_shifted,
    is_short,
    line_end,
    may_tell,
    of_marked,
)

_PIECE = 1 << 20


class Line(NamedTuple):
    """A line with its end; ``content`` is None where it is longer than a record may be, and was not kept."""

    number: int
    offset: int
    content: bytes | None


class TextLine(NamedTuple):
    """A line with its end, and the encoding that it was in."""

    number: int
    offset: int
    text: str
    encoding: str


class Lines:
    """The lines of an open file as text; what it is in is known from its beginning, or once a line goes beyond ASCII.

    Args:
        content: what ``file`` was opened of.
    """

    def __init__(self, content: Content, wanted: Wanted, file: BinaryIO) -> None:
        self._wanted = wanted
        self.detected: Detected | None = None
        """None where all was ASCII so far."""
        limit = wanted.record_bytes
        if isinstance(content, Slice):
            self.detected = content.detected
            self._lines = read_lines(file, limit, content.line, content.start)
            return
        ahead = Ahead(file)
        head = ahead.look(SAMPLE_BYTES)
        if wanted.encoding is not None:
            self.detected = Detected(of_marked(head, wanted.encoding))
        elif not head.isascii() or b"\0" in head:
            beginning = detect(head, whole=len(head) < SAMPLE_BYTES)
            self.detected = beginning if beginning.encoding in WIDE else None
        encoding = None if self.detected is None else self.detected.encoding
        self._lines = wide_lines(ahead, limit, encoding) if encoding in WIDE else read_lines(ahead, limit)

    def __iter__(self) -> Iterator[TextLine | Rejected]:
        """The lines in order, and those that are no text or longer than a record may be."""
        return map(self.decoded, self.raw())

    def decoded(self, line: Line) -> TextLine | Rejected:
        """A line as text, or why it is none."""
        if line.content is None:
            return _too_long(line, self._wanted.record_bytes)
        encoding = self._encoding_of(line.content)
        try:
            text = line.content.decode(encoding or "utf-8")
        except UnicodeDecodeError as error:
            assert self.detected is not None
            if self._wanted.encoding is None and (own := decoded_alone(line.content, encoding)) is not None:
                return TextLine(line.number, line.offset, *own)
            if encoding is not None and self._wanted.invalid == "replace":
                return TextLine(line.number, line.offset, line.content.decode(encoding, "replace"), encoding)
            place = f"at byte {line.offset + error.start}: 0x{line.content[error.start]:02x}"
            return Rejected(line.number, *undecodable(self.detected, place, line.content), line.offset)
        return TextLine(line.number, line.offset, text, encoding or "utf-8")

    @property
    def are_utf8(self) -> bool:
        """Whether the lines so far are in UTF-8, but for damage."""
        return self.detected is None or self.detected.encoding == "utf-8"

    def raw(self) -> Iterator[Line]:
        """The lines as bytes; from the first one beyond ASCII on it is known what the file is in."""
        while self.detected is None and (line := next(self._lines, None)) is not None:
            if line.content is not None and may_tell(line.content):
                yield from self._detect(line)
            else:
                yield line
        yield from self._lines

    def _detect(self, line: Line) -> list[Line]:
        """The line and those behind it that it takes to tell what the file is in."""
        held = [line]
        sample = bytearray(line.content or b"")
        try:
            while len(sample) < SAMPLE_BYTES and (later := next(self._lines, None)) is not None:
                held.append(later)
                sample += later.content or b""
        except Damaged as damage:
            self._lines = _damaged(damage)  # told behind the lines that came before
        found = detect(bytes(sample[:SAMPLE_BYTES]), whole=len(sample) <= SAMPLE_BYTES)
        if found.encoding != "utf-8" or not sample.isascii():  # what looked like a shift was none
            self.detected = Detected("utf-8") if found.binary else found
        return held

    def _encoding_of(self, line: bytes) -> str | None:
        """What a line is in; None where that is not certain."""
        encoding = "utf-8" if self.detected is None else self.detected.encoding
        return encoding if self._wanted.encoding is not None else encoding_of_line(line, encoding)


def encoding_of_line(line: bytes, encoding: str | None) -> str | None:
    """What a line of a file in ``encoding`` is in: UTF-8 where that is no chance, as where files were joined."""
    if encoding in WIDE:
        return encoding
    if encoding in SEVEN_BIT:
        return encoding if line.isascii() else "utf-8"
    if is_shifted(line):
        return "iso2022_jp_ext"
    if encoding == "utf-8":
        return encoding
    return "utf-8" if line.isascii() or is_line_of_utf8(line, within=encoding) else encoding


def decoded_alone(line: bytes, encoding: str | None) -> tuple[str, str] | None:
    """A line that is no UTF-8, of a file of UTF-8, in what is certain of more than a few bytes of it, and what that is;
    None where nothing is."""
    if encoding != "utf-8" or is_short(line):
        return None
    own = detect(line[:SAMPLE_BYTES], whole=len(line) <= SAMPLE_BYTES).encoding
    if own is None or own == "utf-8" or own in WIDE:
        return None
    try:
        return line.decode(own), own
    except UnicodeDecodeError:
        return None


def _damaged(damage: Damaged) -> Iterator[Line]:
    raise damage
    yield  # pragma: no cover (it makes this an iterator)


def undecodable(detected: Detected, place: str, content: bytes) -> tuple[str, str]:
    """The reason and the detail of bytes that cannot be decoded."""
    if detected.encoding is None:
        likely = ", ".join(detected.likely)
        return "unknown encoding", f"{place}; it could be {likely}: set encoding of the source"
    if detected.encoding != "utf-8":
        return "not in its encoding", f"{place} is not {detected.encoding}"
    own = detect(content)
    names = own.likely if own.encoding is None else (own.encoding,)
    could = [name for name in names if name != "utf-8"]
    return "not UTF-8", f"{place}; it could be {', '.join(could)}: set encoding of the source" if could else place


def read_lines(file: BinaryIO, limit: int, number: int = 0, offset: int = 0) -> Iterator[Line]:
    """The lines of a file, numbered from ``number``, each of ``limit`` bytes at most."""
    while line := file.readline(limit + 1):
        if len(line) > limit and not line.endswith(b"\n"):
            length = len(line) + _skip_line(file)
            yield Line(number, offset, None)
        else:
            length = len(line)
            yield Line(number, offset, line)
        offset += length
        number += 1


def _too_long(line: Line, limit: int) -> Rejected:
    detail = f"at byte {line.offset}: the line is longer than {limit:,} bytes (record_bytes)"
    return Rejected(line.number, "too long", detail, line.offset)


def _skip_line(file: BinaryIO) -> int:
    skipped = 0
    while piece := file.readline(_PIECE):
        skipped += len(piece)
        if piece.endswith(b"\n"):
            break
    return skipped


def wide_lines(file: BinaryIO, limit: int, encoding: str) -> Iterator[Line]:
    """The lines of UTF-16 or UTF-32, where a byte 0x0a alone ends none."""
    end = line_end(encoding)
    width = len(end)
    number = offset = 0
    line = bytearray()
    length = 0  # of the line so far, also where it is too long to be kept
    rest = b""
    while piece := file.read(_PIECE):
        piece = rest + piece
        whole = len(piece) // width * width
        rest, start = piece[whole:], 0
        while (stop := _aligned(piece, end, start, whole)) >= 0 or start < whole:
            part = piece[start : stop if stop >= 0 else whole]
            length += len(part)
            line = line + part if length <= limit else bytearray()
            start += len(part)
            if stop >= 0:
                yield Line(number, offset, bytes(line) if length <= limit else None)
                number, offset, length, line = number + 1, offset + length, 0, bytearray()
    length += len(rest)
    if length:
        yield Line(number, offset, bytes(line + rest) if length <= limit else None)


def _aligned(piece: bytes, end: bytes, start: int, whole: int) -> int:
    """Where the first ``end`` that begins at a whole character ends; -1 where there is none."""
    at = piece.find(end, start, whole)
    while at >= 0 and at % len(end):
        at = piece.find(end, at + 1, whole)
    return at + len(end) if at >= 0 else -1

"""Files that are read whole, up to the size that a record may have."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from danlu.readers.lines import decoded_alone, encoding_of_line, undecodable
from danlu.readers.record import ENCODING, Content, Rejected, Wanted
from danlu.text.encodings import SAMPLE_BYTES, SEVEN_BIT, WIDE, Detected, detect_whole, of_marked

_FIRST, _MORE = 1 << 16, 16
"""Bytes asked for first, and how many times as many after each piece that was full: what is asked for is set aside
before it is read, and most files are small."""
_ENDS = ("binary", "not UTF-8", "not in its encoding", "unknown encoding")
"""Reasons for which a file may be unreadable that its end alone can bring about."""
_NULS = 4
"""NULs at the end that are no part of a character, in any encoding."""

T = TypeVar("T")


class Text(NamedTuple):
    """A text, and the encoding that it was in."""

    text: str
    encoding: str

    @property
    def fields(self) -> dict[str, str]:
        return encoding_field(self.encoding)


def encoding_field(encoding: str) -> dict[str, str]:
    """What a record says of its encoding: nothing where that is UTF-8."""
    return {} if encoding == "utf-8" else {ENCODING: encoding}


def read_whole(content: Content, wanted: Wanted) -> bytes | Rejected:
    """All bytes, where they are no more than a record may have."""
    with content.open() as file:
        pieces = []
        left, asked = wanted.record_bytes + 1, _FIRST
        while left and (piece := file.read(min(left, asked))):
            pieces.append(piece)
            left -= len(piece)
            asked *= _MORE if len(piece) == asked else 1
    if not left:
        return Rejected(0, "too long", f"the file is longer than {wanted.record_bytes:,} bytes (record_bytes)", 0)
    return b"".join(pieces)


def decode(content: bytes, wanted: Wanted) -> Text | Rejected:
    """All of the text, where it is certain what it is in; a NUL is in no text."""
    detected = detect_whole(content) if wanted.encoding is None else Detected(of_marked(content, wanted.encoding))
    if detected.encoding not in WIDE and b"\0" in content:
        return Rejected(0, "binary", f"NUL at byte {content.index(0)}", 0)
    name = detected.encoding or "utf-8"
    errors = "strict" if wanted.invalid == "quarantine" or detected.encoding is None else "replace"
    may_be_joined = wanted.encoding is None and detected.encoding is not None and name not in (*WIDE, *SEVEN_BIT)
    # UTF-8 fails on lines of others; others make something of lines of UTF-8, so that these are looked for first.
    joined = _joined(content, name, errors) if may_be_joined and (name != "utf-8" or b"\x1b$" in content) else None
    if joined is not None:
        return joined
    try:
        return Text(content.decode(name), name)
    except UnicodeDecodeError as error:
        if may_be_joined and name == "utf-8" and (joined := _joined(content, name, errors)) is not None:
            return joined
        if not may_be_joined and errors == "replace":
            return Text(content.decode(name, errors), name)
        place = f"at byte {error.start}: 0x{content[error.start]:02x}"
        return Rejected(0, *undecodable(detected, place, content[:SAMPLE_BYTES]), 0)


def _joined(content: bytes, encoding: str, errors: str) -> Text | None:
    """The text of lines in ``encoding`` and in others, as where files were joined; None where one cannot be decoded.

    What is said of its encoding is ``encoding``, or where that is UTF-8 the first other one.
    """
    texts: list[str] = []
    said = encoding
    for line in content.splitlines(keepends=True):
        own = encoding_of_line(line, encoding) or encoding
        try:
            texts.append(line.decode(own))
        except UnicodeDecodeError:
            alone = decoded_alone(line, own)
            if alone is None and errors == "strict":
                return None
            text, own = alone if alone is not None else (line.decode(own, errors), own)
            texts.append(text)
        said = own if said == "utf-8" else said
    return Text("".join(texts), said)


def read_text(content: Content, wanted: Wanted) -> Text | Rejected:
    """The whole file as text, where it is no longer than a record may be and it is certain what it is in."""
    whole = read_whole(content, wanted)
    return whole if isinstance(whole, Rejected) else decode(whole, wanted)


def read_text_and_end(content: Content, wanted: Wanted) -> tuple[Text | Rejected, Rejected | None]:
    """The same, but for its end where that alone cannot be read; and that end."""
    whole = read_whole(content, wanted)
    return (whole, None) if isinstance(whole, Rejected) else read_but_end(whole, lambda some: decode(some, wanted))


def read_but_end(content: bytes, read: Callable[[bytes], T | Rejected]) -> tuple[T | Rejected, Rejected | None]:
    """What ``read`` makes of all of it; where that fails for its end alone, of what is before, and the end as a loss.

    A file that was cut ends within a character, one from a disk that failed often in NULs.
    """
    found = read(content)
    if not isinstance(found, Rejected) or found.reason not in _ENDS or len(content) < _NULS:
        return found, None
    end = _unfinished(content)
    if not end or (content[:end].isascii() and content[end:].strip(b"\0")):  # nothing says that it is UTF-8 and was cut
        return found, None
    before = read(content[:end])
    if isinstance(before, Rejected):
        return found, None
    return before, Rejected(1, found.reason, f"{len(content) - end:,} bytes at the end, from byte {end}", end)


def _unfinished(content: bytes) -> int:
    """Where the NULs at the end begin, or else the character at the end that may be cut."""
    written = content.rstrip(b"\0")
    if len(content) - len(written) >= _NULS:
        return len(written)
    try:
        content.decode()
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":
            return error.start
    return len(content) - 1

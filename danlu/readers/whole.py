"""Files that are read whole, up to the size that a record may have."""

from __future__ import annotations

import re
from collections.abc import Callable
from io import StringIO
from typing import NamedTuple, TypeVar

from danlu.readers.damage import Damage, beyond_ascii, is_damage
from danlu.readers.lines import decoded_alone, encoding_of_line, undecodable
from danlu.readers.record import ENCODING, LOST, Content, CutShort, Damaged, Rejected, Wanted
from danlu.text.encodings import SAMPLE_BYTES, SEVEN_BIT, WIDE, Detected, detect_whole, of_marked

_FIRST, _MORE = 1 << 16, 16
"""Bytes asked for first, and how many times as many after each piece that was full: what is asked for is set aside
before it is read, and most files are small."""
UNREADABLE = ("binary", "not UTF-8", "not in its encoding", "unknown encoding")
"""Reasons for which a file may be unreadable that its end, or some of its lines, can bring about."""
_NULS = 4
"""NULs at the end that are no part of a character, in any encoding."""

_NUL = re.compile(rb"\0+")
_LINE = re.compile(rb"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+")

T = TypeVar("T")


class Text(NamedTuple):
    """A text, the encoding that it was in, and what of it cannot be read."""

    text: str
    encoding: str
    lost: tuple[Rejected, ...] = ()
    """What ``text`` lacks: its damaged lines, or its end; numbered from 1, each with the byte at which it begins."""

    @property
    def fields(self) -> dict[str, str]:
        return {**encoding_field(self.encoding), **lost_field(len(self.lost))}


def encoding_field(encoding: str) -> dict[str, str]:
    """What a record says of its encoding: nothing where that is UTF-8."""
    return {} if encoding == "utf-8" else {ENCODING: encoding}


def lost_field(parts: int) -> dict[str, str]:
    """What a record says of how many parts of it could not be read and are quarantined; nothing where it is whole."""
    return {LOST: str(parts)} if parts else {}


def read_whole(content: Content, wanted: Wanted) -> bytes | Rejected:
    """All bytes, where they are no more than a record may have.

    Raises:
        Damaged: what packs them is damaged.
    """
    whole, damage = _read_before(content, wanted)
    if damage is not None:
        raise damage
    return whole


def _read_before(content: Content, wanted: Wanted) -> tuple[bytes | Rejected, Damaged | None]:
    """The same, or the bytes before damage, and the damage."""
    pieces: list[bytes] = []
    left, asked = wanted.record_bytes + 1, _FIRST
    damage = None
    with content.open() as file:
        # One step of the stream below: several of which the last fails would lose what the others brought.
        step = getattr(file, "read1", file.read)
        try:
            while left and (piece := step(min(left, asked))):
                pieces.append(piece)
                left -= len(piece)
                asked *= _MORE if len(piece) == asked else 1
        except Damaged as error:
            damage = error
    if not left:
        too_long = f"the file is longer than {wanted.record_bytes:,} bytes (record_bytes)"
        return Rejected(0, "too long", too_long, 0), None
    return b"".join(pieces), damage


def decode(content: bytes, wanted: Wanted) -> Text | Rejected:
    """All of the text, where it is certain what it is in; a NUL is in no text."""
    detected = _detected(content, wanted)
    if detected.encoding not in WIDE and b"\0" in content:
        return Rejected(0, "binary", f"NUL at byte {content.index(0)}", 0)
    name = detected.encoding or "utf-8"
    errors = "strict" if wanted.invalid == "quarantine" or detected.encoding is None else "replace"
    may_be_joined = wanted.encoding is None and detected.encoding is not None and name not in (*WIDE, *SEVEN_BIT)
    # UTF-8 fails on lines of others; others make something of lines of UTF-8, so that these are looked for first.
    if may_be_joined and (name != "utf-8" or b"\x1b$" in content):
        joined = _by_line(content, detected, wanted, most=0)
        if joined is not None:
            return joined
    try:
        return Text(content.decode(name), name)
    except UnicodeDecodeError as error:
        if may_be_joined and name == "utf-8" and (joined := _by_line(content, detected, wanted, most=0)) is not None:
            return joined
        if not may_be_joined and errors == "replace":
            return Text(content.decode(name, errors), name)
        place = f"at byte {error.start}: 0x{content[error.start]:02x}"
        return Rejected(0, *undecodable(detected, place, content[:SAMPLE_BYTES]), 0)


def decode_in_part(content: bytes, wanted: Wanted) -> Text | Rejected:
    """All of the text; or where something in it cannot be read, what is left without its end or its damaged lines.

    Where that is too much (:func:`~danlu.readers.damage.is_damage`) it is rejected whole.
    """
    found, end = read_but_end(content, lambda some: decode(some, wanted))
    if isinstance(found, Text):
        return found if end is None else found._replace(lost=(end,))
    if found.reason not in UNREADABLE:
        return found
    detected = _detected(content, wanted)
    if detected.binary:  # it has NULs, which its other lines may not have
        detected = _detected(content.replace(b"\0", b""), wanted)
    if detected.encoding in (*WIDE, *SEVEN_BIT):  # behind a byte too few all is garbage, or may be
        return found
    return _by_line(content, detected, wanted, most=len(content)) or found


def _detected(content: bytes, wanted: Wanted) -> Detected:
    return detect_whole(content) if wanted.encoding is None else Detected(of_marked(content, wanted.encoding))


def _by_line(content: bytes, detected: Detected, wanted: Wanted, *, most: int) -> Text | None:
    """The text of lines in the encoding that was detected and in others, as where files were joined, without those that
    are damaged; None where that is too much, or they have more than ``most`` bytes.

    What is said of its encoding is the one detected, or where that is UTF-8 the first other one.
    """
    text = StringIO()
    lost: list[Rejected] = []
    said = detected.encoding or "utf-8"
    bad = beyond = gone = 0
    total = len(content) - content.count(b"\0")
    for match in _LINE.finditer(content):
        line, offset = match[0], match.start()
        own = detected.encoding if wanted.encoding is not None else encoding_of_line(line, detected.encoding)
        found = _of_line(line, own, wanted)
        if found is not None:
            text.write(found[0])
            said = found[1] if said == "utf-8" else said
            continue
        gone += len(line) - line.count(b"\0")
        if gone > most or not most:
            return None
        damaged = line.decode(own or "utf-8", "replace")
        nuls = len(_NUL.findall(line))
        bad += damaged.count("\ufffd") + nuls
        beyond += beyond_ascii(damaged) + nuls
        if not is_damage(Damage(bad, len(content), gone, total), detected.encoding):  # whatever comes: no text, perhaps
            return None
        lost.append(Rejected(len(lost) + 1, *_why(line, offset, detected, own), offset))
    whole = text.getvalue()
    damage = Damage(bad, beyond + beyond_ascii(whole), gone, total)
    return Text(whole, said, tuple(lost)) if not lost or is_damage(damage, detected.encoding) else None


def _of_line(line: bytes, own: str | None, wanted: Wanted) -> tuple[str, str] | None:
    """The text of a line and what it is in; None where it cannot be read."""
    if own is None or b"\0" in line:
        return None
    try:
        return line.decode(own), own
    except UnicodeDecodeError:
        if wanted.encoding is None and (alone := decoded_alone(line, own)) is not None:
            return alone
        return (line.decode(own, "replace"), own) if wanted.invalid == "replace" else None


def _why(line: bytes, offset: int, detected: Detected, own: str | None) -> tuple[str, str]:
    """The reason and the detail of a line that cannot be read."""
    if b"\0" in line:
        return "binary", f"NUL at byte {offset + line.index(0)}"
    try:
        line.decode(own or "utf-8")
    except UnicodeDecodeError as error:
        return undecodable(detected, f"at byte {offset + error.start}: 0x{line[error.start]:02x}", line)
    raise AssertionError(f"byte {offset} begins a line that can be read")


def read_text(content: Content, wanted: Wanted) -> Text | Rejected:
    """The text of a file, where it is no longer than a record may be, without what of it is damaged.

    Where what packs the file ends early, it is what comes before that.

    Raises:
        Damaged: what packs it is damaged otherwise, so that what came before may be, too; or nothing came before.
    """
    whole, damage = _read_before(content, wanted)
    if isinstance(whole, Rejected):
        return whole
    if damage is not None and not (whole.strip() and isinstance(damage, CutShort)):
        raise damage
    text = decode_in_part(whole, wanted)
    if damage is None:
        return text
    if isinstance(text, Rejected):
        raise damage
    detail = ", ".join(filter(None, [damage.detail, f"behind byte {len(whole)} of the text"]))
    return text._replace(lost=(*text.lost, Rejected(len(text.lost) + 1, damage.reason, detail, len(whole))))


def read_but_end(content: bytes, read: Callable[[bytes], T | Rejected]) -> tuple[T | Rejected, Rejected | None]:
    """What ``read`` makes of all of it; where that fails for its end alone, of what is before, and the end as a loss.

    A file that was cut ends within a character, one from a disk that failed often in NULs.
    """
    found = read(content)
    if not isinstance(found, Rejected) or found.reason not in UNREADABLE or len(content) < _NULS:
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

"""JSON: a record a line, or a list of records."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any

import orjson

from danlu.readers.ahead import Ahead
from danlu.readers.lines import Line, Lines, TextLine
from danlu.readers.record import SAID_HERE, Content, Damaged, Raw, Rejected, Wanted, checked
from danlu.readers.whole import encoding_field
from danlu.text.encodings import SAMPLE_BYTES, WIDE, detect, of_marked

_BLANK = " \t\r\n\ufeff"
_PIECE = 1 << 20
_DECODER = json.JSONDecoder()
_ESCAPED, _NUL = re.compile("[\udc80-\udcff]"), "\udc00"
"""Bytes that are no characters, after PEP 383; and in the same manner a NUL."""
_SHIFTING = ("utf-16", "utf-32", "utf-7", "iso2022", "hz")
"""Beginnings of encodings in which bytes of ASCII can be bad ones."""


def read_jsonl(content: Content, wanted: Wanted) -> Iterator[Raw | Rejected]:
    """One JSON object a line; lines of white space alone are no records."""
    text_field = wanted.text_field
    with content.open() as file:
        lines = Lines(content, wanted, file)
        for line in lines.raw():
            if line.content is not None and line.content.isspace():
                continue
            record = _fast(line, text_field) if line.content is not None and lines.are_utf8 else None
            if record is not None:
                yield record
                continue
            decoded = lines.decoded(line)
            if isinstance(decoded, Rejected):
                yield decoded
            elif not decoded.text.isspace():
                yield _of_line(decoded, text_field)


def _fast(line: Line, text_field: str) -> Raw | None:
    """The record of a line of UTF-8 with which nothing is wrong: orjson takes no half surrogate pairs or bad bytes."""
    try:
        value = orjson.loads(line.content or b"")
        text = value.pop(text_field)
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
        return None
    if type(text) is not str:
        return None
    for name in SAID_HERE:
        value.pop(name, None)
    fields = {name: value for name, value in value.items() if type(value) is str}
    return Raw(line.number, text, fields, line.offset)


def _of_line(line: TextLine, text_field: str) -> Raw | Rejected:
    try:
        value = json.loads(line.text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        return Rejected(line.number, "broken JSON", f"at byte {line.offset}: {error}", line.offset)
    return _record(value, Raw(line.number, "", offset=line.offset), text_field, line.encoding)


def _record(value: Any, place: Raw, text_field: str, encoding: str) -> Raw | Rejected:
    where = f"at byte {place.offset}"
    if not isinstance(value, dict):
        return Rejected(place.number, "not a JSON object", where, place.offset)
    if text_field not in value:
        detail = f"{where}; it has: {', '.join(value)}"
        return Rejected(place.number, f"no field {text_field!r}", detail, place.offset)
    text = value.pop(text_field)
    for name in SAID_HERE:
        value.pop(name, None)
    return checked(place, text, {**value, **encoding_field(encoding)}, text_field, where)


def read_json(content: Content, wanted: Wanted) -> Iterator[Raw | Rejected]:
    """A list of JSON objects, or objects one after another, read as a stream; behind broken JSON nothing is read.

    A bad byte or a NUL within a value costs that value alone.
    """
    with content.open() as file:
        ahead = Ahead(file)
        head = ahead.look(SAMPLE_BYTES)
        if wanted.encoding is not None:
            encoding: str | None = of_marked(head, wanted.encoding)
        else:
            found = detect(head, whole=len(head) < SAMPLE_BYTES)
            if found.binary and head.lstrip().startswith((b"[", b"{")):  # NULs in values
                found = detect(head.replace(b"\0", b""), whole=len(head) < SAMPLE_BYTES)
            encoding = found.encoding
            if encoding is None:
                likely = ", ".join(found.likely)
                reason = "binary" if found.binary else "unknown encoding"
                yield Rejected(0, reason, "" if found.binary else f"it could be {likely}: set encoding of the source")
                return
        assert encoding is not None
        yield from _Values(ahead, encoding, wanted).records()


class _Values:
    """The values of a JSON text that is read piece by piece."""

    def __init__(self, file: Ahead, encoding: str, wanted: Wanted) -> None:
        self._file = file
        self._encoding = encoding
        self._wanted = wanted
        self._replace = wanted.invalid == "replace"
        errors = "replace" if self._replace and encoding.startswith(_SHIFTING) else "strict"
        self._decoder = codecs.getincrementaldecoder(encoding)(errors)
        self._damaged = False  # then bad bytes are half surrogate pairs in the buffer
        self._read = 0
        self._ended = False
        self._buffer = ""
        self._at = 0  # in the buffer
        self._offset = 0  # of that place, in bytes of the file

    def records(self) -> Iterator[Raw | Rejected]:
        number = 0
        try:
            is_list = self._next_sign() == "["
            if is_list:
                self._pass(1)
            while (sign := self._next_sign()) and not (is_list and sign == "]"):
                if number and is_list:
                    if sign != ",":
                        raise ValueError(f"',' or ']' is expected; got {sign!r}")
                    self._pass(1)
                    self._next_sign()
                offset = self._offset
                value, bad = self._value()
                if bad is not None:
                    yield Rejected(number, *bad, offset)
                elif self._offset - offset > self._wanted.record_bytes:
                    yield Rejected(number, "too long", self._limit(offset), offset)
                else:
                    yield _record(value, Raw(number, "", offset=offset), self._wanted.text_field, self._encoding)
                number += 1
            if is_list and not sign:
                raise ValueError("the list does not end")
        except UnicodeDecodeError as error:
            place = f"in the piece that ends at byte {self._read}: 0x{error.object[error.start]:02x}"
            yield Rejected(number, self._not_in_it, place)
        except OverflowError:
            yield Rejected(number, "too long", f"{self._limit(self._offset)}; what follows is not read", self._offset)
        except (ValueError, RecursionError) as error:
            yield Rejected(
                number, "broken JSON", f"at byte {self._offset}: {error}; what follows is not read", self._offset
            )

    @property
    def _not_in_it(self) -> str:
        return "not UTF-8" if self._encoding == "utf-8" else "not in its encoding"

    def _limit(self, offset: int) -> str:
        return f"at byte {offset}: the value is longer than {self._wanted.record_bytes:,} bytes (record_bytes)"

    def _next_sign(self) -> str:
        """The next character that is not blank, where reading goes on; none at the end."""
        while True:
            rest = self._buffer[self._at :].lstrip(_BLANK) if self._at < len(self._buffer) else ""
            if rest:
                self._pass(len(self._buffer) - self._at - len(rest))
                return rest[0]
            self._pass(len(self._buffer) - self._at)
            if not self._more():
                return ""

    def _value(self) -> tuple[Any, tuple[str, str] | None]:
        """The next value, and what is wrong with it and where, if it has a bad byte."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self._buffer, self._at)
                if end < len(self._buffer) or not self._more():  # a number could go on in the next piece
                    bad = self._bad(end) if self._damaged else None
                    if bad is not None and self._replace and bad[0] != "binary":
                        value, bad = self._replaced(end), None
                    self._pass(end - self._at)
                    return value, bad
            except json.JSONDecodeError:
                if not self._more():
                    raise
            if len(self._buffer) - self._at > self._wanted.record_bytes:
                raise OverflowError

    def _bad(self, end: int) -> tuple[str, str] | None:
        """What the first bad byte from this place to ``end`` of the buffer is, or a NUL, and where."""
        if (nul := self._buffer.find(_NUL, self._at, end)) >= 0:
            return "binary", f"NUL at byte {self._offset + self._bytes(self._at, nul)}"
        found = _ESCAPED.search(self._buffer, self._at, end)
        if found is None:
            return None
        offset = self._offset + self._bytes(self._at, found.start())
        return self._not_in_it, f"at byte {offset}: 0x{ord(found[0]) - 0xDC00:02x}"

    def _replaced(self, end: int) -> Any:
        """The value from this place to ``end`` of the buffer, with U+FFFD for bad bytes."""
        content = self._buffer[self._at : end].encode(self._encoding, "surrogateescape")
        return _DECODER.decode(content.decode(self._encoding, "replace"))

    def _bytes(self, start: int, end: int) -> int:
        """How many bytes a part of the buffer was; about, where it has U+FFFD for some that are not known."""
        part = self._buffer[start:end]
        if self._damaged:
            part = part.replace(_NUL, "\0")
        try:
            return len(part.encode(self._encoding, "surrogateescape"))
        except UnicodeEncodeError:
            return len(part.encode(self._encoding, "replace"))

    def _pass(self, characters: int) -> None:
        end = self._at + characters
        self._offset += self._bytes(self._at, end)
        self._at = end

    def _more(self) -> bool:
        """Whether there was more to read: as much again as is held, lest a long value be parsed too often."""
        if self._ended:
            return False
        self._buffer, self._at = self._buffer[self._at :], 0
        self._feed(self._piece(max(_PIECE, 2 * len(self._buffer))))
        return True

    def _piece(self, size: int) -> bytes:
        """So many bytes; fewer at the end and before damage, which is told when it is come to again."""
        pieces: list[bytes] = []
        try:
            while size > 0 and (piece := self._file.read1(size)):
                pieces.append(piece)
                size -= len(piece)
        except Damaged:
            if not pieces:
                raise
        return b"".join(pieces)

    def _feed(self, piece: bytes) -> None:
        self._ended = not piece
        self._read += len(piece)
        state = self._decoder.getstate()
        try:
            text = self._decoder.decode(piece, final=self._ended)
        except UnicodeDecodeError:
            if self._encoding in WIDE:
                raise
            self._decoder = codecs.getincrementaldecoder(self._encoding)("surrogateescape")
            self._decoder.setstate(state)
            text = self._decoder.decode(piece, final=self._ended)
            self._damaged = True
        if "\0" in text:
            text = text.replace("\0", _NUL)
            self._damaged = True
        self._buffer += text

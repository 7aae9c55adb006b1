"""WARC and WET, the files of web archives (ISO 28500; https://iipc.github.io/warc-specifications/).

``response`` and ``resource`` records give the text of pages, ``conversion`` records (WET) are text. Reading goes on
behind damage: where a packed file has a member a record, as the standard asks, behind the member; else with the next
line that begins a record. Records of other kinds are no documents; responses that are no page, by their status or
type, are told in one rejected record at the end.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from danlu.readers.http import parse_headers, parse_response
from danlu.readers.limits import TooLarge
from danlu.readers.markup import read_page
from danlu.readers.packed import UnpackedStream
from danlu.readers.record import Content, Damaged, Raw, Rejected, Wanted, checked
from danlu.readers.whole import decode_in_part

_VERSION = re.compile(rb"WARC/\d\.\d{1,2}[ \t]*\r?\n?\Z")
_NEXT = re.compile(rb"(?<=\n)WARC/\d\.\d{1,2}[ \t]*\r?\n")
_LONGEST_VERSION = 64
"""Bytes of the line that begins a record, and the end of the one before."""
_LINE_BYTES = 1 << 16
_HEADER_LINES = 1000
_PIECE = 1 << 20
_PAGES = ("text/html", "application/xhtml+xml")
_NOT_READ = "WARC records that are no page"


@dataclass(slots=True)
class Record:
    """A record as it stands: its number and offset, its headers with names in lower case, and its block."""

    number: int
    offset: int
    headers: dict[str, str]
    block: bytes


def read_warc(content: Content, wanted: Wanted) -> Iterator[Raw | Rejected]:
    """The text of every page or conversion, with ``url``, ``date`` and ``content_type``."""
    passed: Counter[str] = Counter()
    number = -1
    with content.open() as stream:
        for record in WarcStream(stream, wanted.record_bytes).records():
            number = record.number
            if isinstance(record, Rejected):
                yield record
                continue
            found = _document(record, wanted)
            if isinstance(found, str):
                passed[found] += bool(found)
            else:
                yield from found
    passed = +passed
    if passed:
        kinds = ", ".join(f"{kind} {count}" for kind, count in passed.most_common(10))
        yield Rejected(number + 1, _NOT_READ, f"{passed.total()} records: {kinds}")


def _document(record: Record, wanted: Wanted) -> list[Raw | Rejected] | str:
    """Its text, and what of that is damaged; or what kind it is of that is no page, nothing for what is no document."""
    kind = record.headers.get("warc-type", "").lower()
    if kind not in ("response", "resource", "conversion"):
        return ""
    content_type = record.headers.get("content-type", "").partition(";")[0].strip().lower()
    body, charset = record.block, None
    if kind == "response" and content_type in ("application/http", ""):
        try:
            response = parse_response(record.block, wanted.record_bytes)
        except Damaged as damage:
            return [Rejected(record.number, damage.reason, damage.detail, record.offset)]
        if response.status != 200:
            return f"status {response.status}"
        content_type, body, charset = response.content_type, response.body, response.charset
    if not content_type and body.lstrip()[:200].lower().startswith((b"<!doctype html", b"<html")):
        content_type = "text/html"
    if content_type in _PAGES:
        page, lost = read_page(body, wanted, charset)
        return [_placed(each, record, content_type, wanted) for each in (page, *lost)]
    if content_type != "text/plain":
        return content_type[:60] or "no content type"
    text = decode_in_part(body, wanted)
    found: list[Raw | Rejected]
    found = [text] if isinstance(text, Rejected) else [Raw(0, text.text, text.fields), *text.lost]
    return [_placed(each, record, content_type, wanted) for each in found]


def _placed(found: Raw | Rejected, record: Record, content_type: str, wanted: Wanted) -> Raw | Rejected:
    """``found`` with the place and the address of its record."""
    url = record.headers.get("warc-target-uri", "").strip("<>")
    if isinstance(found, Rejected):
        detail = f"{found.detail} in {url}" if found.detail else url
        return Rejected(record.number, found.reason, detail, record.offset)
    fields = {"url": url, "date": record.headers.get("warc-date", ""), "content_type": content_type}
    if "warc-truncated" in record.headers:
        fields["truncated"] = record.headers["warc-truncated"]
    fields = {name: value for name, value in fields.items() if value}
    place = Raw(record.number, "", offset=record.offset)
    return checked(place, found.text, {**found.fields, **fields}, wanted.text_field, "in the page")


class WarcStream:
    """The records of a stream, and what is damaged between them."""

    def __init__(self, stream: BinaryIO, most: int) -> None:
        self._stream = stream
        self._most = most
        self._back = b""  # read too far, and to be read again, from the place on; never cut, for it may be long
        self._place = 0
        self._offset = 0
        self._number = 0
        self._told = False  # what is being passed over is told already
        self._between = True  # nothing has been read of the next record

    def records(self) -> Iterator[Record | Rejected]:
        """Every record of any kind in order; one that is damaged, cut short or too long comes out as rejected.

        In a packed file a record is held until what comes next is begun: its member's check sum stands behind it.
        """
        held: Record | None = None
        while True:
            start = self._offset
            try:
                found = self._next()
            except OSError:
                if held is not None:
                    yield held
                raise
            except Damaged as damage:
                if held is not None and self._was_in_it(damage):
                    yield Rejected(held.number, damage.reason, damage.detail, held.offset)
                else:
                    if held is not None:
                        yield held
                    if not self._told or isinstance(damage, TooLarge):  # behind a limit the rest of the file is lost
                        yield self._rejected(damage.reason, damage.detail, start)
                held, self._told = None, True
                self._back, self._place = b"", 0
                raw = getattr(self._stream, "raw", None)
                if not isinstance(raw, UnpackedStream) or not raw.resume():
                    return
                continue
            if held is not None:
                yield held
            held = found if isinstance(found, Record) else None
            if found is None:
                return
            if held is None:
                yield found

    def _was_in_it(self, damage: Damaged) -> bool:
        """Whether the damage is in the packed member that the last record, and nothing else behind it, was read of."""
        raw = getattr(self._stream, "raw", None)
        is_damage = self._between and damage.reason.startswith("damaged ")
        return is_damage and isinstance(raw, UnpackedStream) and raw.member_bytes > 0

    def _rejected(self, reason: str, detail: str, offset: int) -> Rejected:
        self._number += 1
        return Rejected(self._number - 1, reason, detail, offset)

    def _next(self) -> Record | Rejected | None:
        start = self._offset
        lost = 0
        self._between = True
        while not _VERSION.match(line := self._line()):
            self._between = not line.strip() and not lost
            if not line:
                told, self._told = self._told, False
                if lost and not told:
                    return self._rejected("damaged WARC", f"{lost} bytes without a record", start)
                if not self._offset:
                    raise Damaged("truncated WARC", "the file is empty")
                return None
            if line.strip() or lost:
                lost += len(line)
            else:
                start = self._offset
        self._between = False
        if lost and not self._told:
            self._unread(line)
            self._told = True
            return self._rejected("damaged WARC", f"{lost} bytes without a record", start)
        self._told = False
        start = self._offset - len(line)
        headers = parse_headers(self._header_lines())
        length = headers.get("content-length", "")
        if not (length.isascii() and length.isdigit() and len(length) < 16):
            self._told = True
            return self._rejected("damaged WARC record", "it has no Content-Length", start)
        return self._block(start, headers, int(length))

    def _header_lines(self) -> list[bytes]:
        lines: list[bytes] = []
        while (line := self._line()).strip() and len(lines) < _HEADER_LINES:
            if _VERSION.match(line):  # the record ends inside its headers, and this is the next
                self._unread(line)
                break
            lines.append(line.rstrip(b"\r\n"))
        if not line:
            raise Damaged("truncated WARC", "it ends inside the headers of a record")
        return lines

    def _block(self, start: int, headers: dict[str, str], length: int) -> Record | Rejected:
        if length > self._most:
            lied = self._skip(length)  # where that raises, the damage is what is told of this record
            self._told = True
            if lied:
                return self._rejected("damaged WARC record", "its Content-Length is wrong", start)
            return self._rejected("too long", f"the record has {length:,} bytes (record_bytes)", start)
        block = self._take(length)
        if len(block) == length and self._ends():
            self._number += 1
            return Record(self._number - 1, start, headers, block)
        # A length that is too large has swallowed records; one that is too small leaves a rest, which is passed over.
        swallowed = _NEXT.search(block)
        if swallowed is not None:
            self._unread(block[swallowed.start() :])
        self._told = True
        if len(block) < length and swallowed is None:
            return self._rejected("truncated WARC", f"{length - len(block):,} bytes of a record are missing", start)
        return self._rejected("damaged WARC record", "its Content-Length is wrong", start)

    def _ends(self) -> bool:
        """Does a record end here: is what follows an empty line, the next record, or nothing?"""
        try:
            line = self._line()
        except Damaged:  # told with what comes next; this record is whole
            return True
        if line in (b"\r\n", b"\n", b""):
            return True
        self._unread(line)
        return bool(_VERSION.match(line))

    def _unread(self, data: bytes) -> None:
        start = self._place - len(data)
        if start >= 0 and self._back.startswith(data, start):
            self._place = start
        else:
            self._back, self._place = data + self._back[self._place :], 0
        self._offset -= len(data)

    def _line(self) -> bytes:
        end = self._back.find(b"\n", self._place) + 1
        if end:
            line = self._again(end - self._place)
        else:
            line = self._again(len(self._back)) + self._stream.readline(_LINE_BYTES)
        self._offset += len(line)
        return line

    def _again(self, size: int) -> bytes:
        """As many of the bytes that are to be read again, fewer where there are no more."""
        data = self._back[self._place : self._place + size]
        self._place += len(data)
        if self._place == len(self._back):
            self._back, self._place = b"", 0
        return data

    def _take(self, size: int) -> bytes:
        pieces = [self._again(size)]
        left = size - len(pieces[0])
        while left and (piece := self._stream.read(min(left, _PIECE))):
            pieces.append(piece)
            left -= len(piece)
        self._offset += size - left
        return b"".join(pieces)

    def _skip(self, size: int) -> bool:
        """Pass over a block, up to another record that begins in it: whether there is one, and its length is wrong."""
        behind = b""
        while size and (piece := self._take(min(size, _PIECE))):
            size -= len(piece)
            piece = behind + piece
            if (begun := _NEXT.search(piece)) is not None:
                self._unread(piece[begun.start() :])
                return True
            behind = piece[-_LONGEST_VERSION:]
        return False

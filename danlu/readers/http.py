"""An HTTP response as an archive stores it: its headers, and its body as the server meant it."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message

from danlu.optional import optional
from danlu.readers.limits import Budget
from danlu.readers.packed import PACKINGS, Packing, UnpackedStream, Zlib
from danlu.readers.record import Damaged

_STATUS = re.compile(rb"HTTP/\d(?:\.\d)? (\d{3})")
_HEADERS_END = re.compile(rb"\r?\n\r?\n")


@dataclass(slots=True)
class Response:
    """``status`` is 0 where the status line says none; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def content_type(self) -> str:
        """``text/html``, in lower case; empty where the server did not say."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def charset(self) -> str | None:
        """The encoding that the header names."""
        message = Message()
        message["content-type"] = self.headers.get("content-type", "")
        return message.get_content_charset()


def parse_response(block: bytes, most: int) -> Response:
    """The response in ``block``, its transfer and content encodings undone.

    Raises:
        Damaged: it is none, or its body is damaged or unpacks to more than ``most`` bytes.
    """
    end = _HEADERS_END.search(block)
    head = block[: end.start()] if end else block
    status_line, *lines = head.splitlines() or [b""]
    status = _STATUS.match(status_line)
    if status is None:
        raise Damaged("not an HTTP response", f"it begins with {status_line[:40]!r}")
    response = Response(int(status[1]), parse_headers(lines), block[end.end() :] if end else b"")
    if "chunked" in response.headers.get("transfer-encoding", "").lower():
        response.body = unchunked(response.body)
    for coding in reversed(response.headers.get("content-encoding", "").lower().split(",")):
        response.body = _decoded(response.body, coding.strip(), most)
    return response


def parse_headers(lines: list[bytes]) -> dict[str, str]:
    """Names in lower case; of a name that comes twice the first, a line that begins with white space goes on."""
    headers: dict[str, str] = {}
    name = ""
    for line in lines:
        text = line.decode("utf-8", "backslashreplace")
        if text[:1] in (" ", "\t") and name:
            headers[name] += " " + text.strip()
            continue
        name, colon, value = text.partition(":")
        name = name.strip().lower()
        if colon and name not in headers:
            headers[name] = value.strip()
        elif not colon:
            name = ""
    return headers


def unchunked(body: bytes) -> bytes:
    """The chunks joined; a body that is not chunked after all, for crawlers undo it and leave the header, as it is."""
    pieces: list[bytes] = []
    place = 0
    while match := re.compile(rb"([0-9A-Fa-f]{1,8})[^\r\n]{0,200}\r?\n").match(body, place):
        size = int(match[1], 16)
        if size == 0:
            return b"".join(pieces)
        place = match.end() + size
        pieces.append(body[match.end() : place])
        place += 2 if body[place : place + 2] == b"\r\n" else 1
        if place > len(body):
            break
    return b"".join(pieces) if pieces else body


def _decoded(body: bytes, coding: str, most: int) -> bytes:
    if coding in ("", "identity") or not body:
        return body
    if coding == "br":
        return _unbrotli(body, most)
    packing = _packing(body, coding)
    if packing is None:
        raise Damaged("content encoding that is not read", coding[:40])
    if packing.magics != (b"",) and not body.startswith(packing.magics):
        return body  # a crawler undid it and left the header
    with UnpackedStream(io.BytesIO(body), packing, Budget(most, 1 << 62)) as stream:
        return stream.readall()


def _packing(body: bytes, coding: str) -> Packing | None:
    if coding in ("gzip", "x-gzip"):
        return PACKINGS["gzip"]
    if coding == "zstd":
        return PACKINGS["zstd"]
    if coding == "deflate":  # with zlib's header by the standard, without it by some servers
        headed = body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0
        make: Callable[[], Zlib] = lambda: Zlib(zlib.MAX_WBITS if headed else -zlib.MAX_WBITS)  # noqa: E731
        return Packing("deflate", (b"",), make, single=True)
    return None


def _unbrotli(body: bytes, most: int) -> bytes:
    brotli = optional("brotli", purpose="a WARC file with pages packed by brotli")
    decoder = brotli.Decompressor()
    pieces = []
    size = 0
    try:
        piece = decoder.process(body, output_buffer_limit=1 << 20)
        while piece or not decoder.can_accept_more_data():
            pieces.append(piece)
            size += len(piece)
            if size > most:
                raise Damaged("unpacks to too much", f"more than {most:,} bytes (record_bytes)")
            piece = decoder.process(b"", output_buffer_limit=1 << 20)
    except brotli.error as error:
        raise Damaged("damaged brotli", str(error)) from None
    if not decoder.is_finished():
        raise Damaged("truncated brotli")
    return b"".join(pieces)

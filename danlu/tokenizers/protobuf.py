"""The wire format of protocol buffers, as far as few fields need it.

Which it is says https://protobuf.dev/programming-guides/encoding; ``docs/decisions/0015`` says why not the package.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def fields(message: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """Number and value of each field, in order: integers, floats of 4 or 8 bytes, or what has a length, as bytes.

    Raises:
        ValueError: these bytes are no message.
    """
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, place = _varint(message, place)
            yield number, value
            continue
        if wire == BYTES:
            length, place = _varint(message, place)
        elif wire in (FIXED32, FIXED64):
            length = 4 if wire == FIXED32 else 8
        else:
            raise ValueError(f"no field of a protocol buffer has the wire type {wire}")
        content = message[place : place + length]
        if len(content) < length:
            raise ValueError("a protocol buffer ends in the middle of a field")
        place += length
        yield number, content if wire == BYTES else struct.unpack("<f" if wire == FIXED32 else "<d", content)[0]


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """The number that begins at ``place``, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            break
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place += 1
        if byte < 0x80:
            return value, place
    raise ValueError("a protocol buffer ends in the middle of a number")


def message(parts: Iterable[tuple[int, int | float | str | bytes]]) -> bytes:
    """The bytes of these fields, by number and value, in order: floats of 4 bytes; what ``fields`` reads.

    Args:
        parts: integers may be negative, as ``int32`` and ``int64`` are written; a message in a message is its bytes.
    """
    return b"".join(_field(number, value) for number, value in parts)


def _field(number: int, value: int | float | str | bytes) -> bytes:
    if isinstance(value, int):
        return _as_varint(number << 3 | VARINT) + _as_varint(value & (1 << 64) - 1)
    if isinstance(value, float):
        return _as_varint(number << 3 | FIXED32) + struct.pack("<f", value)
    content = value.encode() if isinstance(value, str) else value
    return _as_varint(number << 3 | BYTES) + _as_varint(len(content)) + content


def _as_varint(value: int) -> bytes:
    content = bytearray()
    while value >= 0x80:
        content.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*content, value])

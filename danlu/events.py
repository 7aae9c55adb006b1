"""TensorBoard event files, written by hand: forty lines in place of a dozen packages.

An event file is a sequence of records ``length, crc(length), data, crc(data)`` (TFRecord), each
holding one ``Event`` protocol buffer; a scalar needs five of its fields. ``tensorboard`` reads them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

_HEADER_BYTES = 12
_FOOTER_BYTES = 4


def scalars_record(step: int, values: Mapping[str, float], *, wall_time: float) -> bytes:
    """One record: the scalars of one step, at ``wall_time`` seconds since 1970."""
    summary = b"".join(
        _field(1, _field(1, tag.encode()) + b"\x15" + struct.pack("<f", value)) for tag, value in values.items()
    )
    return _record(b"\x09" + struct.pack("<d", wall_time) + b"\x10" + _varint(step) + _field(5, summary))


def first_record(*, wall_time: float) -> bytes:
    """The record that every event file begins with: its version."""
    return _record(b"\x09" + struct.pack("<d", wall_time) + _field(3, b"brain.Event:2"))


def length_up_to(path: Path, step: int) -> int:
    """Bytes of the whole records at the start of an event file of ours whose steps are <= ``step``."""
    end = 0
    for end_of_record, record_step in _steps(path.read_bytes()):
        if record_step > step:
            break
        end = end_of_record
    return end


def _steps(data: bytes) -> Iterator[tuple[int, int]]:
    """(end offset, step) of every whole record; reading stops at the first that is damaged or cut off."""
    start = 0
    while start + _HEADER_BYTES <= len(data):
        (length,) = struct.unpack_from("<Q", data, start)
        end = start + _HEADER_BYTES + length + _FOOTER_BYTES
        event = data[start + _HEADER_BYTES : end - _FOOTER_BYTES]
        if end > len(data) or data[start:end] != _record(event):
            return
        yield end, _read_varint(event, 10) if event[9:10] == b"\x10" else 0
        start = end


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + _masked_crc(length) + data + _masked_crc(data)


def _field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: bytes, start: int) -> int:
    value = shift = 0
    for byte in data[start:]:
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    return value


def _crc32c_table() -> list[int]:
    table = []
    for byte in range(256):
        entry = byte
        for _ in range(8):
            entry = entry >> 1 ^ (0x82F63B78 if entry & 1 else 0)
        table.append(entry)
    return table


_CRC32C = _crc32c_table()


def _masked_crc(data: bytes) -> bytes:
    """CRC-32C (Castagnoli; zlib has only CRC-32), rotated and shifted as TFRecord wants it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC32C[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

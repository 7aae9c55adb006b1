"""zip archives: where each member lies, by the directory at the end or, without one, by the members' own headers.

The directory is read by ``zipfile``; the data are not, for it gives bzip2 and xz as much memory as they ask for.
Members that lie on one another (the bombs of D. Fifield, https://www.bamsoftware.com/hacks/zipbomb/) are told by their
places. A name without the mark of UTF-8 is what Windows wrote in its own encoding: all such names of an archive are
detected together.
"""

from __future__ import annotations

import bz2
import io
import lzma
import mmap
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

from danlu.readers.limits import Budget
from danlu.readers.packed import Decoder, Packing, UnpackedStream, Zlib, buffered, zstd_decoder
from danlu.readers.record import Damaged
from danlu.text.encodings import detect

_DIRECTORY_BYTES = 256 << 20
"""A directory beyond this is refused: ``zipfile`` holds it in memory, ten times as large."""
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_MARK = re.compile(rb"PK(?:\x03\x04|\x01\x02)")
"""What a member or an entry of the directory begins with."""
_ENCRYPTED, _DESCRIPTOR, _UTF8 = 1, 8, 1 << 11
_STORED, _LZMA = 0, 14
_FULL = 0xFFFFFFFF


@dataclass(slots=True)
class Entry:
    """A member: its name, where its data lie and how they are packed; ``problem`` says why it is not to be read."""

    name: str
    start: int
    packed_size: int
    size: int | None
    check: int | None
    method: int
    problem: str = ""


def entries(path: Path) -> tuple[list[Entry], Damaged | None]:
    """The members in the order of their data, folders left out; and what is wrong where the directory is not there.

    Raises:
        Damaged: it is no zip archive.
    """
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        if not size:
            raise Damaged("truncated zip", "the file is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            _check_directory(data)
            try:
                with zipfile.ZipFile(file) as archive:
                    found = _by_directory(archive.infolist(), data)
                    damage = None
            except (
                zipfile.BadZipFile,
                NotImplementedError,
                ValueError,
                OSError,
                struct.error,
                RecursionError,
            ) as error:
                found = list(_by_headers(data))
                damage = Damaged("damaged zip", f"its directory is missing or broken ({error}); read by its members")
                if not found and not data.find(b"PK\3\4", 0, 4) == 0:
                    raise Damaged("not zip", str(error)) from None
    _tell_overlaps(found)
    return found, damage


def _check_directory(data: mmap.mmap) -> None:
    """The size of the directory, before anything reads it to memory."""
    end = data.rfind(b"PK\5\6", max(0, len(data) - 66_000))
    if 0 <= end <= len(data) - 22:
        size = int.from_bytes(data[end + 12 : end + 16], "little")
        wide = data.rfind(b"PK\6\6", max(0, end - 200), end) if size == _FULL else -1
        if wide >= 0:
            size = int.from_bytes(data[wide + 40 : wide + 48], "little")
        if min(size, len(data)) > _DIRECTORY_BYTES:
            raise Damaged("zip with too many members", f"its directory has {size:,} bytes")


def _by_directory(infos: Iterable[zipfile.ZipInfo], data: mmap.mmap) -> list[Entry]:
    infos = [info for info in infos if not info.filename.endswith("/")]
    names = _names([(info.orig_filename, info.flag_bits) for info in infos])
    found = []
    for info, name in zip(infos, names, strict=True):
        entry = Entry(name, 0, info.compress_size, info.file_size, info.CRC, info.compress_type)
        header = data[info.header_offset : info.header_offset + _LOCAL.size] if info.header_offset >= 0 else b""
        if len(header) < _LOCAL.size or not header.startswith(b"PK\3\4"):
            entry.start, entry.problem = max(info.header_offset, 0), "damaged zip member"
        else:
            *_, name_length, extra_length = _LOCAL.unpack(header)
            entry.start = info.header_offset + _LOCAL.size + name_length + extra_length
        if info.flag_bits & _ENCRYPTED:
            entry.problem = "encrypted"
        elif stat.S_ISLNK(info.external_attr >> 16):
            entry.problem = "link in an archive"
        found.append(entry)
    return sorted(found, key=lambda entry: entry.start)


def _by_headers(data: mmap.mmap) -> Iterator[Entry]:
    """The members of an archive that lacks its end, one header after the other."""
    place = 0
    while (place := data.find(b"PK\3\4", place)) >= 0:
        header = data[place : place + _LOCAL.size]
        if len(header) < _LOCAL.size:
            return
        _, _, flags, method, _, _, check, packed, size, name_length, extra_length = _LOCAL.unpack(header)
        start = place + _LOCAL.size + name_length + extra_length
        if start > len(data):
            return
        raw = data[place + _LOCAL.size : place + _LOCAL.size + name_length]
        extra = data[start - extra_length : start]
        if _FULL in (packed, size):
            size, packed = _wide_sizes(extra, size, packed)
        known = not flags & _DESCRIPTOR or packed > 0
        if not known:
            packed = _described_size(data, start)
        [name] = _names([(raw.decode("utf-8" if flags & _UTF8 else "cp437", "backslashreplace"), flags)])
        if not name.endswith("/"):
            problem = "encrypted" if flags & _ENCRYPTED else ""
            yield Entry(name, start, packed, size if known else None, check if known else None, method, problem)
        place = start + packed if start + packed <= len(data) else start


def _wide_sizes(extra: bytes, size: int, packed: int) -> tuple[int, int]:
    """Both sizes, from the extra field of zip64 where they do not fit into 32 bits."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == 1 and length >= 16 and len(extra) >= 20:
            wide_size, wide_packed = struct.unpack_from("<QQ", extra, 4)
            return (wide_size if size == _FULL else size), (wide_packed if packed == _FULL else packed)
        extra = extra[4 + length :]
    return size, packed


def _described_size(data: mmap.mmap, start: int) -> int:
    """The packed size of a member that tells it behind its data: up to the next header that a size agrees with."""
    place = start
    while True:
        ahead = _MARK.search(data, place)  # for both at once: to look for each would read to the end for every member
        if ahead is None:
            return len(data) - start
        place = ahead.start()
        for length, at, width in ((16, 8, 4), (12, 4, 4), (24, 8, 8), (20, 4, 8)):
            size = place - length - start
            if size >= 0 and data[place - length + at : place - length + at + width] == size.to_bytes(width, "little"):
                return size
        place += 4


def _names(stored: list[tuple[str, int]]) -> list[str]:
    """Names as ``zipfile`` decodes them, UTF-8 where marked and else cp437, in the encoding they were written in."""
    plain = [name.encode("cp437", "replace") if not flags & _UTF8 else b"" for name, flags in stored]
    foreign = b"\n".join(name for name in plain if not name.isascii())
    encoding = _encoding(foreign) if foreign else "ascii"
    names = []
    for raw, (name, flags) in zip(plain, stored, strict=True):
        decoded = name if flags & _UTF8 else raw.decode(encoding, "backslashreplace")
        names.append(
            decoded.partition("\0")[0].replace("\\", "/") if "/" not in decoded else decoded.partition("\0")[0]
        )
    return names


def _encoding(names: bytes) -> str:
    try:
        names.decode()
        return "utf-8"
    except UnicodeDecodeError:
        found = detect(names)
        return found.encoding or next(iter(found.likely), "cp437")  # of a label the likeliest will do


def _tell_overlaps(found: list[Entry]) -> None:
    for entry, after in pairwise(found):
        if entry.start + entry.packed_size > after.start or entry.start == after.start:
            entry.problem = entry.problem or "overlapping zip members"
            after.problem = after.problem or "overlapping zip members"


def open_entry(path: Path, entry: Entry, budget: Budget) -> BinaryIO:
    """The unpacked bytes of a member; its length and check sum are looked at when it ends.

    Raises:
        Damaged: it is packed in a way that is not read, or, while it is read, damaged.
    """
    raw: io.RawIOBase = _Slice(path, entry.start, entry.packed_size)
    if entry.method != _STORED:
        packing = _packing(entry)
        if packing is None:
            raw.close()
            raise Damaged("packed in a way that is not read", f"method {entry.method} of zip")
        raw = UnpackedStream(io.BufferedReader(raw), packing, budget)
    return buffered(_Checked(raw, entry))


def _packing(entry: Entry) -> Packing | None:
    makers: dict[int, tuple[str, Any]] = {
        8: ("deflate", lambda: Zlib(-15)),
        12: ("bzip2", bz2.BZ2Decompressor),
        _LZMA: ("lzma", lambda: _ZipLzma(entry.size)),
        93: ("zstd", zstd_decoder),
        95: ("xz", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=1 << 31)),
    }
    if entry.method not in makers:
        return None
    name, make = makers[entry.method]
    return Packing(name, (b"",), make, single=True)


class _ZipLzma:
    """LZMA as zip stores it: two bytes of version, the length of the settings, the settings, the data."""

    def __init__(self, size: int | None) -> None:
        self._decoder: Decoder = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=1 << 31)
        self._head = b""
        self._begun = False
        self._size = size

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def needs_input(self) -> bool:
        return not self._begun or self._decoder.needs_input

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        if not self._begun:
            self._head += data
            if len(self._head) < 9:
                return b""
            if self._head[2:4] != b"\5\0":
                raise lzma.LZMAError("settings of another length than 5")
            size = b"\xff" * 8 if self._size is None else self._size.to_bytes(8, "little")
            data = self._head[4:9] + size + self._head[9:]
            self._begun = True
        return self._decoder.decompress(data, max_length)


class _Slice(io.RawIOBase):
    """Some bytes of a file; it ends early where the file does."""

    def __init__(self, path: Path, start: int, size: int) -> None:
        super().__init__()
        self._file = path.open("rb", buffering=0)
        self._file.seek(start)
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        piece = self._file.read(min(len(view), self._left)) or b""
        view[: len(piece)] = piece
        self._left -= len(piece)
        return len(piece)

    def close(self) -> None:
        self._file.close()
        super().close()


class _Checked(io.RawIOBase):
    """A member's bytes, held to the length and the check sum that the archive states."""

    def __init__(self, raw: io.RawIOBase, entry: Entry) -> None:
        super().__init__()
        self._raw = raw
        self._entry = entry
        self._size = 0
        self._check = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        count = self._raw.readinto(view) or 0
        self._size += count
        self._check = zlib.crc32(view[:count], self._check)
        size, check = self._entry.size, self._entry.check
        if count and size is not None and self._size > size:
            raise Damaged("damaged zip member", f"it goes on after its {size:,} bytes")
        if len(view) and not count:
            if size is not None and self._size < size:
                raise Damaged("truncated zip member", f"{size - self._size:,} bytes are missing")
            if check is not None and self._check != check:
                raise Damaged("damaged zip member", "its check sum is another")
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()

"""tar archives, read from front to back: each member as it comes, damage in one header losing no more than it must.

``tarfile`` ends silently at the first damaged header and reads a name of any length to memory; from it comes here what
one header block says. After damage the search goes on, block by block, for the next header whose sum is right.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from danlu.readers.record import Damaged

BLOCK = tarfile.BLOCKSIZE
_NAME_BYTES = 1 << 20
"""The longest extended header that is read: names, times and owners."""
_KINDS = {
    tarfile.LNKTYPE: "link",
    tarfile.SYMTYPE: "link",
    tarfile.CHRTYPE: "device",
    tarfile.BLKTYPE: "device",
    tarfile.FIFOTYPE: "pipe",
}


@dataclass(slots=True)
class Entry:
    """One member: its name, its size in bytes, and its kind: file, folder, link, device, pipe or sparse."""

    name: str
    size: int
    kind: str


@dataclass(slots=True)
class _Extended:
    """What extended headers say of the member that follows them."""

    name: str | None = None
    size: int | None = None
    sparse: bool = False


class TarStream:
    """The entries of a tar stream: iterate, and read ``size`` bytes of ``stream`` for each, or :meth:`skip` them."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self._entries = 0

    def entries(self) -> Iterator[Entry | Damaged]:
        """Every member in order, and what is damaged between them.

        After an entry the caller reads or skips its ``size`` bytes and calls :meth:`align`.

        Raises:
            Damaged: by the stream, or because it ends early.
        """
        extended = _Extended()
        lost = 0
        while (block := self._block()) is not None:
            if not any(block):
                if lost:
                    yield self._damaged(lost)
                    lost = 0
                if self._ends():
                    return
                continue
            try:
                info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            except (tarfile.HeaderError, ValueError, OverflowError):
                info = None
            if info is None or info.size < 0:
                if not self._entries:
                    raise Damaged("not tar", "its first block is no header")
                lost += BLOCK
                continue
            if lost:
                yield self._damaged(lost)
                lost = 0
            self._entries += 1
            if info.type in (b"x", b"g", b"L", b"K"):
                self._extend(info, extended)
                continue
            entry = _entry(info, extended)
            extended = _Extended()
            yield entry
        if lost:
            yield self._damaged(lost)
        if not self._entries:
            raise Damaged("truncated tar", "the file is empty")
        raise Damaged("truncated tar", f"it ends without the mark of an end, after entry {self._entries}")

    def _damaged(self, lost: int) -> Damaged:
        return Damaged("damaged tar", f"{lost} bytes without a header after entry {self._entries}")

    def _block(self) -> bytes | None:
        """The next block; None at the end of the stream."""
        block = _read(self.stream, BLOCK)
        if not block:
            return None
        if len(block) < BLOCK:
            raise Damaged("truncated tar", "it ends inside a header")
        return block

    def _ends(self) -> bool:
        """Is this the end: nothing but zeros after an empty block? tar fills up to its record size with them."""
        while piece := self.stream.read(BLOCK * 64):
            if piece.strip(b"\0"):
                raise Damaged("junk after tar", f"after entry {self._entries}, the last")
        return True

    def _extend(self, info: tarfile.TarInfo, extended: _Extended) -> None:
        if info.size > _NAME_BYTES:
            self.skip(info.size)
            self.align(info.size)
            return
        data = _read(self.stream, info.size)
        if len(data) < info.size:
            raise Damaged("truncated tar", "it ends inside an extended header")
        self.align(info.size)
        if info.type == b"L":
            extended.name = data.rstrip(b"\0").decode(errors="surrogateescape")
        elif info.type == b"x":
            _read_pax(data, extended)

    def skip(self, size: int) -> None:
        """Read past ``size`` bytes.

        Raises:
            Damaged: the stream ends before them.
        """
        while size:
            piece = self.stream.read(min(size, 1 << 18))
            if not piece:
                raise Damaged("truncated tar", f"{size} bytes are missing")
            size -= len(piece)

    def align(self, size: int) -> None:
        """Read past what fills the last block of a member of ``size`` bytes; at the very end it may be missing."""
        _read(self.stream, -size % BLOCK)


def _entry(info: tarfile.TarInfo, extended: _Extended) -> Entry:
    kind = _KINDS.get(info.type, "folder" if info.isdir() else "file")
    if extended.sparse or info.type == tarfile.GNUTYPE_SPARSE:
        kind = "sparse"
    size = info.size if extended.size is None else extended.size
    if kind in ("link", "device", "pipe", "folder"):
        size = 0 if info.type != tarfile.LNKTYPE else size  # pax lets a hard link carry the data
    return Entry(extended.name if extended.name is not None else info.name, size, kind)


def _read_pax(data: bytes, extended: _Extended) -> None:
    """Records ``length key=value\\n``; what is damaged in them leaves the short header to speak."""
    while data:
        digits, _, _ = data.partition(b" ")
        if not digits.isdigit() or not len(digits) < int(digits) <= len(data):
            return
        key, _, value = data[len(digits) + 1 : int(digits) - 1].partition(b"=")
        data = data[int(digits) :]
        if key == b"path":
            extended.name = value.decode(errors="surrogateescape")
        elif key == b"size" and value.isdigit() and len(value) < 20:
            extended.size = int(value)
        elif key.startswith(b"GNU.sparse."):
            extended.sparse = True


def _read(stream: BinaryIO, size: int) -> bytes:
    """``size`` bytes, fewer only at the end."""
    pieces = []
    while size:
        piece = stream.read(size)
        if not piece:
            break
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)

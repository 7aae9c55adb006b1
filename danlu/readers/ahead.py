"""A stream whose beginning can be looked at before it is read, and which keeps what comes before damage."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

from danlu.readers.record import Damaged

_BUFFER = 1 << 17


class Ahead(io.BufferedReader):
    """All of ``file``, which may not be seekable; closing it closes ``file``."""

    def __init__(self, file: BinaryIO) -> None:
        self._ahead = _Ahead(file)
        super().__init__(self._ahead, _BUFFER)

    def look(self, size: int) -> bytes:
        """The first bytes, before anything was read: as many as asked for, fewer where the file ends or is damaged."""
        return self._ahead.look(size)


class _Ahead(io.RawIOBase):
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._head = b""
        self._damage: Damaged | None = None

    def look(self, size: int) -> bytes:
        try:
            while len(self._head) < size and (piece := self._piece(size - len(self._head))):
                self._head += piece
        except Damaged:
            pass  # told when it is come to
        return self._head

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._head and self._damage is not None:
            raise self._damage
        piece = self._head[: len(buffer)] if self._head else self._piece(len(buffer))
        self._head = self._head[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)

    def _piece(self, size: int) -> bytes:
        # One step of the stream below: several of which the last fails would lose what the others brought.
        read: Any = getattr(self._file, "read1", self._file.read)
        try:
            return bytes(read(size))
        except Damaged as damage:
            self._damage = damage  # told again, however often it is asked
            raise

    def close(self) -> None:
        self._file.close()
        super().close()

"""Streams that can be read once, kept as far as they were read, so that a reader may begin again.

A member of a packed archive cannot be sought. Its bytes go to memory and, beyond :data:`MEMORY_BYTES`, to a temporary
file without a name; nothing is ever written under a name that an archive chose.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from danlu.readers.exhausted import keeping
from danlu.readers.limits import Budget
from danlu.readers.packed import copied, read1_of
from danlu.readers.record import Damaged

MEMORY_BYTES = 16 << 20
PIECE_BYTES = 1 << 18


class Spool:
    """What ``source`` gives, ``size`` bytes or all where it is None; use it as a context manager.

    Where the source raises :class:`Damaged` or ends before ``size`` bytes, every reader gets what came before, and
    then the error.
    """

    def __init__(self, source: BinaryIO, size: int | None) -> None:
        self._read = read1_of(source)
        self._left = size
        self._kept = tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES)  # noqa: SIM115 (closed by close)
        self._filled = 0
        self._ended = False
        self._error: Damaged | None = None

    def read(self, place: int, size: int) -> bytes:
        """At most ``size`` bytes from ``place`` on; none at the end."""
        if place >= self._filled and not self._ended:
            self._fill(size)
        if place >= self._filled:
            if self._error is not None:
                raise self._error
            return b""
        self._kept.seek(place)
        return self._kept.read(min(size, self._filled - place))

    def drain(self) -> Damaged | None:
        """Read the source to its end, so that what follows in the archive can be read; the error it ended with."""
        while not self._ended:
            self._pull(PIECE_BYTES)
        return self._error

    def _fill(self, size: int) -> None:
        piece = self._pull(max(size, PIECE_BYTES))
        with keeping():
            self._kept.seek(self._filled)
            self._kept.write(piece)
        self._filled += len(piece)

    def _pull(self, size: int) -> bytes:
        wanted = size if self._left is None else min(size, self._left)
        try:
            piece = self._read(wanted) if wanted else b""
        except Damaged as error:
            self._error = error
            piece = b""
        if self._left is not None:
            self._left -= len(piece)
        if not piece:
            self._ended = True
            if self._left and self._error is None:
                self._error = Damaged("truncated archive", f"{self._left} bytes of a member are missing")
        return piece

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._kept.close()


class SpoolStream(io.RawIOBase):
    """A spool from its beginning; seekable as far as it was read."""

    def __init__(self, spool: Spool) -> None:
        super().__init__()
        self._spool = spool
        self._place = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self._spool.read(self._place, len(view))
        view[: len(data)] = data
        self._place += len(data)
        return len(data)


@dataclass(slots=True)
class Member:
    """One file of an archive as a content, while its archive is being read.

    ``start`` opens it from its beginning; ``budget`` counts for the whole archive; ``depth`` is how many archives it
    stands in.
    """

    name: str
    size: int | None
    start: Callable[[], BinaryIO]
    budget: Budget
    depth: int

    def open(self) -> BinaryIO:
        return self.start()

    def local(self) -> AbstractContextManager[Path]:
        return copied(self)

"""A range of a file of lines, which is read as the same lines of the whole file would be."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from danlu.readers.record import LocalFile
from danlu.text.encodings import Detected


@dataclass(frozen=True, slots=True)
class Slice:
    """The bytes from ``start`` to ``end`` of a file, which begin with its line ``line``."""

    inner: LocalFile
    start: int
    end: int
    line: int
    detected: Detected
    """What the whole file is in."""

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def size(self) -> int | None:
        return self.end - self.start

    def open(self) -> BinaryIO:
        file = self.inner.open()
        file.seek(self.start)
        return cast(BinaryIO, io.BufferedReader(_Range(file, self.end - self.start), 1 << 17))

    def local(self) -> AbstractContextManager[Path]:
        raise NotImplementedError("a range of a file of lines is no file")


class _Range(io.RawIOBase):
    """So many bytes from where a file stands."""

    def __init__(self, file: BinaryIO, length: int) -> None:
        self._file = file
        self._left = length

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._file.read(min(len(buffer), self._left))
        self._left -= len(piece)
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        self._file.close()
        super().close()

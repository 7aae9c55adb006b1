"""Compressed files: a content around a content, unpacked as it is read; a packing is made of (content, wanted)."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, cast

from danlu.readers.record import Content, Damaged, Wanted


@dataclass(frozen=True, slots=True)
class Gzip:
    """What is in a ``.gz`` file."""

    inner: Content
    wanted: Wanted

    @property
    def name(self) -> str:
        return self.inner.name[: -len(".gz")]

    @property
    def size(self) -> int | None:
        return self.inner.size

    def open(self) -> BinaryIO:
        return cast(BinaryIO, io.BufferedReader(_Gunzip(self.inner.open()), 1 << 17))

    def local(self) -> AbstractContextManager[Path]:
        return copied(self)


@contextmanager
def copied(content: Content) -> Iterator[Path]:
    """A temporary copy of what ``content`` holds, unpacked, under a name with its ending."""
    with TemporaryDirectory(prefix="danlu-read-") as folder:
        path = Path(folder, "copy" + Path(content.name).suffix)
        with content.open() as source, path.open("wb") as copy:
            while piece := source.read(1 << 20):
                copy.write(piece)
        yield path


class _Gunzip(io.RawIOBase):
    """Gzip's stream, whose damage is told in our words."""

    def __init__(self, packed: BinaryIO) -> None:
        self._packed = packed
        self._file = gzip.GzipFile(fileobj=packed, mode="rb")
        self._any = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            piece = self._file.read1(len(buffer))  # what is whole comes out before the damage is told
        except EOFError:
            raise Damaged("truncated gzip", "the file ends early") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise Damaged("damaged gzip", str(error)) from None
        if not self._any and not piece and not self._packed.tell():  # which gzip takes for a stream of nothing
            raise Damaged("truncated gzip", "the file is empty")
        self._any = True
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        self._file.close()
        self._packed.close()
        super().close()

"""A store that lies elsewhere, such as ``s3://…``: its columns are copied here, its shards when they are looked at.

Shards come into a folder of at most so many bytes, out of which those go that nobody has looked at for longest. Each is
compared with the hashes of the store, a block at a time, and appears whole; a copy that was cut off goes on behind its
last whole block. Rows are read from all over a store, so that a cache that does not hold it whole fetches shards
again and again: a smaller one is for whoever looks at a part of it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from danlu.corpus.hashes import BLOCK_BYTES, Hashes
from danlu.corpus.hashes import FILE as HASHES
from danlu.errors import InputError
from danlu.files import atomic_write, make_folder, read_json, write_json
from danlu.readers.remote import RemoteFile

FILE = "elsewhere.json"
"""Beside the columns of a store: where its shards are."""


@dataclass(frozen=True)
class Elsewhere:
    """Where the shards of a store are, and where they are copied to."""

    url: str
    cache: Path
    bytes: int
    """The cache holds no more."""

    def write(self, folder: Path) -> None:
        """Say so in the folder of the store."""
        write_json(folder / FILE, {"url": self.url, "cache": str(self.cache), "bytes": self.bytes})

    @classmethod
    def read(cls, folder: Path) -> Elsewhere | None:
        """What :meth:`write` wrote; None where the shards lie in the folder itself.

        Raises:
            KeyError, TypeError, ValueError: something else stands there.
        """
        about = read_json(folder / FILE)
        return None if about is None else cls(str(about["url"]), Path(about["cache"]), int(about["bytes"]))


@dataclass(frozen=True)
class ShardCache:
    """Brings shards of one store."""

    place: Elsewhere
    hashes: Hashes

    @property
    def folder(self) -> Path:
        """Of this store alone, whatever its address is."""
        return self.place.cache / hashlib.sha256(self.hashes.content).hexdigest()[:16]

    def fetch(self, name: str) -> Path:
        """The file of that name, here.

        Raises:
            InputError: it cannot be read there, or is not what was written.
        """
        path, size = self.folder / name, self.hashes.sizes[name]
        make_folder(self.folder)
        with _alone(self.place.cache / ".lock"):
            if path.exists() and path.stat().st_size == size:
                os.utime(path)
                return path
            self._make_room(size)
            part = path.with_name(f".{name}.part")
            with part.open("r+b" if part.exists() else "w+b") as file:
                self._copy(name, file, self._whole_blocks(name, file) * BLOCK_BYTES)
            part.replace(path)
        return path

    def _whole_blocks(self, name: str, file: BinaryIO) -> int:
        """Blocks of a copy that was cut off that are what they should be, from the first."""
        number = 0
        while block := file.read(BLOCK_BYTES):
            if hashlib.sha256(block).digest() != self.hashes.of(name, number):
                break
            number += 1
        return number

    def _copy(self, name: str, file: BinaryIO, start: int) -> None:
        """Write what is behind ``start``."""
        size = self.hashes.sizes[name]
        file.truncate(start)
        file.seek(start)
        if start == size:
            return
        with RemoteFile(f"{self.place.url}/{name}", size, "").after(start) as stream:
            for first in range(start, size, BLOCK_BYTES):
                block = stream.read(min(BLOCK_BYTES, size - first))
                if hashlib.sha256(block).digest() != self.hashes.of(name, first // BLOCK_BYTES):
                    last = min(size, first + BLOCK_BYTES) - 1
                    raise InputError(
                        f"{self.place.url}/{name} is damaged: bytes {first:,} to {last:,} are not what was written"
                    )
                file.write(block)

    def _make_room(self, size: int) -> None:
        """Delete shards, those first that were looked at longest ago, of whichever store, until one more fits."""
        found = [(path, path.stat()) for path in self.place.cache.glob("*/*.bin")]
        held = sum(stat.st_size for _, stat in found) + size
        for path, stat in sorted(found, key=lambda each: (each[1].st_mtime_ns, each[0])):
            if held <= self.place.bytes:
                return
            path.unlink()
            held -= stat.st_size


def bring(url: str, folder: Path, cache: Path, most_bytes: int) -> None:
    """Copy what a store at ``url`` has beside its shards to ``folder``, from where it can be opened then.

    Raises:
        InputError: there is no store, or it cannot be read.
    """
    make_folder(folder)
    atomic_write(folder / "store.json", _content(f"{url}/store.json"))
    about = read_json(folder / "store.json")
    if about is None or not isinstance(about.get("files"), dict):
        raise InputError(f"no token store at {url}: store.json is damaged, or of another form than this Danlu reads")
    columns = [name for name in about["files"] if not is_shard(name)]
    for name in [HASHES, *columns]:
        if Path(name).name != name:
            raise InputError(f"the token store at {url} is damaged: store.json lists {name!r}")
        atomic_write(folder / name, _content(f"{url}/{name}"))
    Elsewhere(url, cache.absolute(), most_bytes).write(folder)


def is_shard(name: str) -> bool:
    """Whether a file of a store holds tokens or their marks."""
    return name.startswith(("tokens-", "marks-"))


def _content(url: str) -> bytes:
    with RemoteFile(url, None, "").open() as stream:
        return stream.read()


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One process at a time: others wait."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

"""A store that lies elsewhere, such as ``s3://…``: its columns are copied here, its shards when they are looked at.

Shards come into a folder of at most so many bytes, out of which those go that nobody has looked at for longest. Each is
compared with the hashes of the store, a block at a time, and appears whole; a copy that was cut off goes on behind its
last whole block. One that is there already is compared when a process first looks at it. Rows are read from all over a
store, so that a cache that does not hold it whole fetches shards again and again: a smaller one is for whoever looks at
a part of it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from danlu.corpus.description import FILE as DESCRIPTION
from danlu.corpus.description import FORM, as_written
from danlu.corpus.fetching import fetching, piece_came, queued
from danlu.corpus.hashes import BLOCK_BYTES, Hashes
from danlu.corpus.hashes import FILE as HASHES
from danlu.errors import InputError
from danlu.files import atomic_write, make_folder, read_json, write_json
from danlu.log import say
from danlu.readers.remote import RemoteFile

FILE = "elsewhere.json"
"""Beside the columns of a store: where its shards are."""
CARRIED = ("lineage.json", "lineage.jsonl", "data_card.md")
"""Files of a store that are no columns: where its documents come from (origins.py)."""
_NAME = re.compile(r"[a-z0-9_-]+\.bin")


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
        if not (folder / FILE).exists():
            return None
        about = read_json(folder / FILE)
        if about is None:
            raise ValueError(f"{FILE} is not what was written")
        return cls(str(about["url"]), Path(about["cache"]), int(about["bytes"]))


@dataclass(frozen=True)
class ShardCache:
    """Brings shards of one store."""

    place: Elsewhere
    hashes: Hashes
    compared: set[str] = field(default_factory=set)
    """Those that are known to be what was written: each is read once by each process."""

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
        with _alone(self.place.cache / ".lock"), fetching():
            if path.exists() and self._is_whole(path, name):
                os.utime(path)
                return path
            self._make_room(size)
            copy(self.place.url, self.hashes, name, path)
            self.compared.add(name)
        return path

    def _is_whole(self, path: Path, name: str) -> bool:
        """Whether a shard that is there is still what was copied; it goes where it is not."""
        if name not in self.compared or path.stat().st_size != self.hashes.sizes[name]:
            try:
                self.hashes.check(path, name)
            except InputError as error:
                say(f"{error}: it is fetched again")
                path.unlink()
                return False
            self.compared.add(name)
        return True

    def _make_room(self, size: int) -> None:
        """Delete shards, those first that were looked at longest ago, of whichever store, until one more fits."""
        found = [(path, path.stat()) for path in self.place.cache.glob("*/*.bin")]
        held = sum(stat.st_size for _, stat in found) + size
        for path, stat in sorted(found, key=lambda each: (each[1].st_mtime_ns, each[0])):
            if held <= self.place.bytes:
                return
            path.unlink()
            held -= stat.st_size


def copy(url: str, hashes: Hashes, name: str, path: Path) -> None:
    """Copy a file of the store at ``url`` to ``path``, where it appears whole.

    What a copy that was cut off has brought is not fetched again, as far as it is what was written.

    Raises:
        InputError: it cannot be read, or is not what was written.
    """
    part, size = path.with_name(f".{name}.part"), hashes.sizes[name]
    with part.open("r+b" if part.exists() else "w+b") as file:
        start = min(size, _whole_blocks(hashes, name, file) * BLOCK_BYTES)
        file.truncate(start)
        file.seek(start)
        for block in blocks(url, hashes, name, start):
            file.write(block)
            piece_came()
        file.flush()
        os.fsync(file.fileno())  # else a name may outlive a power cut, and its content not
    part.replace(path)


def blocks(url: str, hashes: Hashes, name: str, start: int = 0) -> Iterator[bytes]:
    """A file of the store at ``url`` from the block that begins at ``start``; each is compared before it comes.

    Raises:
        InputError: it cannot be read, or is not what was written; the line says where.
    """
    size = hashes.sizes[name]
    if start == size:
        return
    with RemoteFile(f"{url}/{name}", size, "").after(start) as stream:
        for first in range(start, size, BLOCK_BYTES):
            block = stream.read(min(BLOCK_BYTES, size - first))
            if hashlib.sha256(block).digest() != hashes.of(name, first // BLOCK_BYTES):
                last = min(size, first + BLOCK_BYTES) - 1
                raise InputError(f"{url}/{name} is damaged: bytes {first:,} to {last:,} are not what was written")
            yield block


def _whole_blocks(hashes: Hashes, name: str, file: BinaryIO) -> int:
    """Blocks of a copy that was cut off that are what they should be, from the first."""
    number = 0
    while hashlib.sha256(file.read(BLOCK_BYTES)).digest() == hashes.of(name, number):
        number += 1
    return number


def bring(url: str, folder: Path, cache: Path, most_bytes: int) -> None:
    """Copy what a store at ``url`` has beside its shards to ``folder``, from where it can be opened then.

    Raises:
        InputError: there is no store, or it cannot be read or is damaged, or the cache has no room for its largest
            file.
    """
    make_folder(folder)
    hashes = _described(url, folder)
    largest = max((size for name, size in hashes.sizes.items() if is_shard(name)), default=0)
    if largest > most_bytes:
        raise InputError(
            f"pack.cache_bytes must be at least {largest:,}, the largest file of the store at {url}; got {most_bytes:,}"
        )
    for name in hashes.sizes:
        if not is_shard(name):
            copy(url, hashes, name, folder / name)
    Elsewhere(url, cache.absolute(), most_bytes).write(folder)


def _described(url: str, folder: Path) -> Hashes:
    """What the files of the store at ``url`` should be; what says so is copied to ``folder``."""
    for name in (DESCRIPTION, HASHES):
        atomic_write(folder / name, _content(f"{url}/{name}"))
    about = read_json(folder / DESCRIPTION)
    if about is None or "form" not in about:
        raise InputError(f"no token store at {url}: {DESCRIPTION} is damaged, or something else")
    if about["form"] != FORM:
        raise InputError(f"the token store at {url} is of another form than this Danlu reads: pack the text again")
    if not as_written(about) or not isinstance(about.get("files"), dict):
        raise InputError(f"the token store at {url} is damaged: {DESCRIPTION} is not what was written")
    for name, size in about["files"].items():
        if not (_NAME.fullmatch(name) or name in CARRIED) or not isinstance(size, int) or size < 0:
            raise InputError(f"the token store at {url} is damaged: store.json lists {name!r} of {size!r} bytes")
    try:
        return Hashes.read((folder / HASHES).read_bytes(), about["files"], str(about.get("hashes")))
    except ValueError as error:
        raise InputError(f"the token store at {url} is damaged: {error}") from None


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
        with queued():
            fcntl.flock(file, fcntl.LOCK_EX)
        yield

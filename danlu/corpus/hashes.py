"""Hashes of a folder's files, a block of 1 MiB each, so that a part can be verified alone and damage has a place.

``hashes.bin`` holds the SHA-256 of each block of each file, in the order in which ``store.json`` lists the files with
their sizes; the SHA-256 of ``hashes.bin`` itself stands in ``store.json``: a tree of two levels (Merkle 1987).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType

from danlu.errors import InputError
from danlu.machine import cores

BLOCK_BYTES = 1 << 20
HASH_BYTES = 32
FILE = "hashes.bin"


@dataclass(frozen=True)
class Hashes:
    """What the blocks of each file were when the store was written."""

    sizes: Mapping[str, int]
    """Bytes of each file, in order."""
    content: bytes
    """``hashes.bin``."""

    @classmethod
    def read(cls, content: bytes, sizes: Mapping[str, int], digest: str) -> Hashes:
        """The hashes in ``content``.

        Raises:
            ValueError: they are not those of ``digest``, or too few.
        """
        if hashlib.sha256(content).hexdigest() != digest:
            raise ValueError(f"{FILE} is not what was written")
        if len(content) != HASH_BYTES * sum(map(_blocks, sizes.values())):
            raise ValueError(f"{FILE} is of other files")
        return cls(sizes, content)

    def of(self, name: str, block: int) -> bytes:
        """Of a block of a file."""
        start = HASH_BYTES * (self._first[name] + block)
        return self.content[start : start + HASH_BYTES]

    @cached_property
    def _first(self) -> dict[str, int]:
        """Blocks before each file's."""
        before = accumulate(map(_blocks, self.sizes.values()), initial=0)
        return dict(zip(self.sizes, before, strict=False))

    def check(self, path: Path, name: str) -> None:
        """Read a file and compare.

        Raises:
            InputError: it is not what was written; the line says where.
            OSError: it cannot be read.
        """
        size = path.stat().st_size
        if size != self.sizes[name]:
            raise InputError(f"{path} is damaged: it has {size:,} bytes of {self.sizes[name]:,}")
        for number, digest in enumerate(digests(path)):
            if digest != self.of(name, number):
                first, last = number * BLOCK_BYTES, min(size, (number + 1) * BLOCK_BYTES) - 1
                raise InputError(f"{path} is damaged: bytes {first:,} to {last:,} are not what was written")


def digests(path: Path) -> Iterator[bytes]:
    """The hash of each block of a file."""
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            yield hashlib.sha256(block).digest()


def write_hashes(
    folder: Path, names: Sequence[str], known: Mapping[str, bytes] = MappingProxyType({})
) -> tuple[dict[str, int], str]:
    """Hash files of ``folder`` and write ``hashes.bin``: their sizes, and the hash of that.

    Args:
        known: the hashes of the blocks of some of them.
    """
    with ThreadPoolExecutor(cores()) as pool:
        parts = list(pool.map(lambda name: known.get(name) or b"".join(digests(folder / name)), names))
    content = b"".join(parts)
    (folder / FILE).write_bytes(content)
    return {name: (folder / name).stat().st_size for name in names}, hashlib.sha256(content).hexdigest()


def check_all(folder: Path, hashes: Hashes, names: Sequence[str]) -> None:
    """Compare files, several at once.

    Raises:
        InputError: one is not what was written: the first in their order.
    """
    with ThreadPoolExecutor(cores()) as pool:
        for _ in pool.map(lambda name: hashes.check(folder / name, name), names):
            pass


def _blocks(size: int) -> int:
    return -(-size // BLOCK_BYTES)

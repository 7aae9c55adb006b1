"""Arrays on the disk that are read where they are looked at: one file, or shards of equal length read as one."""

from __future__ import annotations

import bisect
import tempfile
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

SHARD_TOKENS = 1 << 26
"""Tokens of a shard, but for the last: 128 MiB of uint16, 256 MiB of uint32."""
OPEN_SHARDS = 256
"""Shards that are mapped at once; each holds a file open, of which a process may have 1,024."""

AT_ONCE = 1 << 18
"""Documents that are looked through at once."""
IN_MEMORY = 1 << 14
"""Numbers that are not worth a file."""
SHORT = 64
"""Entries of a stretch, on average, below which many are looked up one by one in place of stretch by stretch."""

Array = np.ndarray[Any, Any]
Ints = np.ndarray[Any, np.dtype[np.int64]]
Fetch = Callable[[str], Path]


def mapped(path: Path, dtype: Any) -> Array:
    """``path`` as an array that is not read; of no bytes the system maps nothing.

    Raises:
        OSError, ValueError: there is no such file, or not a whole number of entries.
    """
    if path.stat().st_size == 0:
        return np.zeros(0, dtype=dtype)
    return np.asarray(np.memmap(path, dtype=dtype, mode="r"))  # whose single entries are got in a third of the time


def shard_names(name: str, tokens: int, shard_tokens: int = SHARD_TOKENS) -> list[str]:
    """``tokens-00000.bin`` and on: the files that hold ``tokens`` entries."""
    return [f"{name}-{number:05d}.bin" for number in range(max(1, -(-tokens // shard_tokens)))]


def joined(
    files: Sequence[Path],
    dtype: Any,
    length: int,
    shard: int,
    *,
    fetch: Fetch | None = None,
    at_once: int = OPEN_SHARDS,
) -> Array | Shards:
    """The array that ``files`` hold: the one file itself, or all as one.

    Args:
        shard: entries of each file but the last.
        fetch: brings the file of a name here where it is elsewhere; it says where it lies.
        at_once: files that are mapped at once.
    """
    if len(files) == 1 and fetch is None:
        return mapped(files[0], dtype)
    return Shards(files, np.dtype(dtype), length, shard, fetch, at_once)


class Shards:
    """Entries of files of equal length, read as one array; a file is mapped when one of its entries is looked at."""

    def __init__(
        self,
        files: Sequence[Path],
        dtype: np.dtype[Any],
        length: int,
        shard: int,
        fetch: Fetch | None,
        at_once: int,
    ) -> None:
        self.dtype, self.shape = dtype, (length,)
        self._files, self._shard, self._fetch, self._at_once = files, shard, fetch, at_once
        self._map = lru_cache(at_once)(self._open)

    def _open(self, number: int) -> Array:
        path = self._files[number]
        return mapped(path if self._fetch is None else self._fetch(path.name), self.dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        """What another process opens by itself."""
        return Shards, (self._files, self.dtype, len(self), self._shard, self._fetch, self._at_once)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: int | slice | Array) -> Any:
        """A slice within a shard is a view of it; over several, and of single places, a copy."""
        if isinstance(key, slice):
            start, end, step = key.indices(len(self))
            if step < 1:
                return self[np.arange(start, end, step)]
            return self._between(start, max(start, end))[::step]
        if isinstance(key, int | np.integer):
            place = range(len(self))[int(key)]
            return self._map(place // self._shard)[place % self._shard]
        return self._at(np.asarray(key))

    def _between(self, start: int, end: int) -> Array:
        first, last = start // self._shard, max(start, end - 1) // self._shard
        if start == end:
            return np.zeros(0, dtype=self.dtype)
        if first == last:
            return self._map(first)[start - first * self._shard : end - first * self._shard]
        borders = [start, *range((first + 1) * self._shard, end, self._shard), end]
        return np.concatenate([self._between(*each) for each in pairwise(borders)])

    def _at(self, places: Array) -> Array:
        if places.dtype == np.bool_:
            places = np.flatnonzero(places)
        flat = np.where(places < 0, places + len(self), places).ravel()
        if len(flat) and not 0 <= int(flat.min()) <= int(flat.max()) < len(self):
            raise IndexError(f"a place of {len(self)} is out of bounds")
        found = np.empty(len(flat), dtype=self.dtype)
        order = np.argsort(flat // self._shard, kind="stable")
        numbers = (flat // self._shard)[order]
        for number in np.unique(numbers).tolist():
            mine = order[bisect.bisect_left(numbers, number) : bisect.bisect_right(numbers, number)]
            found[mine] = self._map(number)[flat[mine] - number * self._shard]
        return found.reshape(places.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        found: Array = np.asarray(self[:], dtype=dtype)
        return found

    def __eq__(self, other: object) -> Any:
        """Number by number, as of any array."""
        return np.asarray(self) == other

    __hash__ = None  # type: ignore[assignment]

    def tolist(self) -> list[int]:
        """All of them."""
        return list(self[:].tolist())


class Spliced:
    """Stretches of a long array behind each other, read as one; only what is sliced is copied.

    Documents of one language or file mostly stand together in a store, so that there are few stretches; where they do
    not, there may be as many as documents, and where they begin and end lies on the disk (:func:`scratch`).
    """

    def __init__(self, whole: Any, begins: Ints, ends: Ints) -> None:
        self.whole, self.begins = whole, begins
        self.borders = scratch(len(begins) + 1)
        self.borders[0] = 0
        for at in range(0, len(begins), AT_ONCE):
            lengths = ends[at : at + AT_ONCE] - begins[at : at + AT_ONCE]
            self.borders[at + 1 : at + 1 + len(lengths)] = self.borders[at] + np.cumsum(lengths)
        self.dtype = whole.dtype

    def __len__(self) -> int:
        return int(self.borders[-1])

    def __getitem__(self, key: int | slice | Ints) -> Any:
        if isinstance(key, np.ndarray):
            places = np.where(key < 0, key + len(self), key)
            stretch = np.searchsorted(self.borders, places, side="right") - 1
            return self.whole[self.begins[stretch] + places - self.borders[stretch]]
        if not isinstance(key, slice):
            return self[np.array(range(len(self))[key])]
        start, end, step = key.indices(len(self))
        first, last = (int(np.searchsorted(self.borders, place, side="right")) - 1 for place in (start, end - 1))
        if end - start < SHORT * (last - first):
            return self[np.arange(start, end, step)]
        parts = [self._stretch(number, start, end) for number in range(first, last + 1)] if end > start else []
        return np.concatenate([np.zeros(0, dtype=self.dtype), *parts])[::step]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        found: Array = np.asarray(self[:], dtype=dtype)
        return found

    def __eq__(self, other: object) -> Any:
        """Number by number, as of any array."""
        return np.asarray(self) == other

    __hash__ = None  # type: ignore[assignment]

    def _stretch(self, number: int, start: int, end: int) -> Array:
        offset = self.begins[number] - self.borders[number]
        inner = max(start, self.borders[number]), min(end, self.borders[number + 1])
        found: Array = self.whole[int(inner[0] + offset) : int(inner[1] + offset)]
        return found


def scratch(length: int, dtype: Any = np.int64) -> Array:
    """``[length]`` numbers to be filled: in memory where they are few, else in a file that nobody else sees."""
    if length <= IN_MEMORY:
        return np.empty(length, dtype=dtype)
    with tempfile.TemporaryFile() as file:
        return np.asarray(np.memmap(file, dtype=dtype, mode="w+", shape=(length,)))


class ShardWriter:
    """Writes an array to shards, each begun where the last is full."""

    def __init__(self, folder: Path, name: str, dtype: Any, shard: int) -> None:
        self.length = 0
        self.dtype = np.dtype(dtype)
        self._folder, self._name, self._shard = folder, name, shard
        self._file = (folder / f"{name}-00000.bin").open("wb")

    def write(self, entries: Array) -> None:
        """Append what is already of the shards' own kind."""
        assert entries.dtype == self.dtype
        while len(entries):
            room = self._shard - self.length % self._shard
            if self.length and room == self._shard:
                self._file.close()
                self._file = (self._folder / f"{self._name}-{self.length // self._shard:05d}.bin").open("wb")
            part, entries = entries[:room], entries[room:]
            self._file.write(np.ascontiguousarray(part).data)
            self.length += len(part)

    def close(self) -> None:
        """The last file is whole then."""
        self._file.close()

"""What the texts of evaluation sets are found by: hashes of their windows in sorted arrays, made in bounded memory.

The arrays are made once, from rows in files on disk, and mapped from one file by all processes of a machine.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from danlu.clean.arrays import Arrays
from danlu.clean.ngram_windows import Hashes, Length, Places, Units, joined, tail, units_of, window_ends, window_hashes
from danlu.clean.repeats import Dealt

FILES = 256
"""Into which rows are dealt by the high bits of their hashes: memory is that of one of them."""
MEMORY = 64 << 20
"""Bytes of rows that wait to be dealt."""
_FIRST_BITS, _MOST_BITS = 16, 28
_Sets = npt.NDArray[np.uint16]


_KINDS: dict[str, type[np.generic]] = {
    "hashes": np.uint64, "sets": np.uint16, "short.hashes": np.uint64, "short.starts": np.int64,
    "short.whole": np.int64,
}  # fmt: skip
"""The arrays of an index, beside two filters."""


class Hit(NamedTuple):
    """The characters ``[start, end)`` of a document stand in the evaluation set of this number."""

    start: int
    end: int
    set: int


class Table(NamedTuple):
    """Sorted hashes, and a filter by their last bits that most other hashes do not pass."""

    hashes: Hashes
    filter: npt.NDArray[np.bool_]

    def found(self, hashes: Hashes) -> Iterator[tuple[int, int]]:
        """The number of each hash that is in the table, and its number there."""
        places = np.flatnonzero(self.filter[hashes & np.uint64(len(self.filter) - 1)])
        if len(places) == 0 or len(self.hashes) == 0:
            return
        rows = np.searchsorted(self.hashes, hashes[places]).clip(max=len(self.hashes) - 1)
        same = self.hashes[rows] == hashes[places]
        yield from zip(places[same].tolist(), rows[same].tolist(), strict=True)


class Index:
    """What is looked for, by the arrays that :class:`Indexing` made; none of the text of the sets.

    Args:
        length: of a window.
        shortest: of an item that is compared whole.
    """

    def __init__(self, arrays: Arrays, length: Length, shortest: Length) -> None:
        self.length, self.shortest = length, shortest
        self._long = Table(arrays["hashes"], arrays["filter"])
        self._sets: _Sets = arrays["sets"]
        self._short = Table(arrays["short.hashes"], arrays["short.filter"])
        self._starts: Places = arrays["short.starts"]
        self._whole: npt.NDArray[np.int64] = arrays["short.whole"]

    def hits(self, text: str) -> Iterator[Hit]:
        """What of ``text`` stands in an evaluation set, in order but for overlaps."""
        most = max(self.length.most_units, self.shortest.most_units)
        units: Units | None = None
        for more in units_of(text):
            units = more if units is None else joined(tail(units, most), more)
            ends = window_ends(units, self.length)
            for place, row in self._long.found(window_hashes(units, ends)):
                yield Hit(int(units.starts[place]), int(units.ends[ends[place] - 1]), int(self._sets[row]))
            if len(self._whole):
                yield from self._short_hits(units)

    def _short_hits(self, units: Units) -> Iterator[Hit]:
        hashes = window_hashes(units, window_ends(units, self.shortest))
        for place, row in self._short.found(hashes):
            for number, count, whole in self._whole[self._starts[row] : self._starts[row + 1]].tolist():
                if place + count <= len(units.hashes):
                    part = units.part(place, place + count)
                    if hash_of_all(part) == np.int64(whole).view(np.uint64):
                        yield Hit(int(part.starts[0]), int(part.ends[-1]), number)


class Indexing:
    """Makes the arrays of an :class:`Index`; use it as a context manager.

    Args:
        folder: for files of its own, which have to stay until the arrays are of no use any more.
    """

    def __init__(self, folder: Path, length: Length, shortest: Length) -> None:
        self.length, self.shortest = length, shortest
        self.items = self.uncovered = 0
        self._folder = folder
        # Rows of a long text: the hash of a window, the set, the hash of the whole text. Of a short one: the hash of
        # its first, shortest window, the set, how many units it has, and the hash of the whole text.
        self._long = Dealt(folder / "long", files=FILES, width=3, memory=MEMORY)
        self._short = Dealt(folder / "short", files=FILES, width=4, memory=MEMORY)

    def __enter__(self) -> Indexing:
        return self

    def __exit__(self, *_: object) -> None:
        self._long.__exit__()
        self._short.__exit__()

    def add(self, number: int, items: Iterable[list[str]]) -> None:
        """Read the items of the evaluation set of this number."""
        for item in items:
            self.items += 1
            covered = [self._add_text(number, text) for text in item]
            self.uncovered += not any(covered)

    def _add_text(self, number: int, text: str) -> bool:
        """Whether the text is long enough to be looked for."""
        units = _all_units(text)
        if len(ends := window_ends(units, self.length)):
            hashes, dealt, more = window_hashes(units, ends), self._long, [number, hash_of_all(units)]
        elif len(first := window_ends(units, self.shortest)):
            hashes, dealt = window_hashes(units, first[:1]), self._short
            more = [number, len(units.hashes), hash_of_all(units)]
        else:
            return False
        rows = np.empty((len(hashes), 1 + len(more)), np.uint64)
        rows[:, 0], rows[:, 1:] = hashes, np.array(more, np.uint64)
        dealt.add(rows.view(np.int64), (hashes >> np.uint64(64 - (FILES - 1).bit_length())).astype(np.int64))
        return True

    def arrays(self, common: int) -> Arrays:
        """The arrays, mapped from files.

        Args:
            common: a window that more different texts of one set share does not count.
        """
        columns = _Columns(self._folder)
        for file in range(FILES):
            columns.add_long(self._long.all(file).view(np.uint64), common)
            columns.add_short(self._short.all(file).view(np.uint64))
        return columns.close()


class _Columns:
    """The arrays of an index while they grow, in the order of their hashes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = {name: (folder / name).open("wb") for name in _KINDS}
        self._short = 0
        self._write("short.starts", np.zeros(1))

    def add_long(self, rows: Hashes, common: int) -> None:
        """Add windows of (hash, set, text), each once; of the sets that have it the first one is named."""
        rows = _different(rows)
        new = _changes(rows[:, :2])
        counts = np.diff(np.append(np.flatnonzero(new), len(rows)))
        rows = rows[new][counts <= common]
        rows = rows[_changes(rows[:, :1])]
        self._write("hashes", rows[:, 0])
        self._write("sets", rows[:, 1])

    def add_short(self, rows: Hashes) -> None:
        """Add short texts of (hash of the first window, set, units, hash of all), each once."""
        rows = _different(rows)
        firsts = np.flatnonzero(_changes(rows[:, :1]))
        self._write("short.hashes", rows[firsts, 0])
        self._write("short.starts", self._short + np.append(firsts[1:], len(rows))[: len(firsts)])
        self._write("short.whole", rows[:, 1:].view(np.int64))
        self._short += len(rows)

    def close(self) -> Arrays:
        """All of them, and their filters."""
        for file in self._files.values():
            file.close()
        arrays: Arrays = {name: _mapped(self._folder / name, kind) for name, kind in _KINDS.items()}
        arrays["short.whole"] = arrays["short.whole"].reshape(-1, 3)
        arrays["filter"] = _filter(self._folder / "filter", arrays["hashes"])
        arrays["short.filter"] = _filter(self._folder / "short.filter", arrays["short.hashes"])
        return arrays

    def _write(self, name: str, values: npt.NDArray[np.generic]) -> None:
        values.astype(_KINDS[name]).tofile(self._files[name])


def _different(rows: Hashes) -> Hashes:
    """The rows in order, each once."""
    rows = np.take(rows, np.lexsort(rows.T[::-1]), axis=0)
    return rows[_changes(rows)]


def _changes(rows: Hashes) -> npt.NDArray[np.bool_]:
    """Which of the rows, in order, are others than the one before."""
    new = np.ones(len(rows), np.bool_)
    new[1:] = (rows[1:] != rows[:-1]).any(axis=1)
    return new


def _mapped(path: Path, kind: npt.DTypeLike) -> npt.NDArray[np.generic]:
    return np.memmap(path, kind, "r") if path.stat().st_size else np.zeros(0, kind)


def _filter(path: Path, hashes: Hashes) -> npt.NDArray[np.bool_]:
    """16 to 32 places a hash, within 64 KB and 256 MB."""
    bits = min(_MOST_BITS, max(_FIRST_BITS, (16 * len(hashes)).bit_length()))
    passes = np.memmap(path, np.bool_, "w+", shape=(1 << bits,))
    for start in range(0, len(hashes), 1 << 20):
        passes[hashes[start : start + (1 << 20)] & np.uint64(len(passes) - 1)] = True
    return passes


def _all_units(text: str) -> Units:
    """The units of a whole text of an evaluation set, in the Unicode form that documents have."""
    nothing = np.zeros(0, np.int64)
    none = Units(np.zeros(0, np.uint64), nothing, nothing, np.zeros(0, np.bool_))
    slices = [none, *units_of(unicodedata.normalize("NFC", text))]
    return Units(*(np.concatenate(column) for column in zip(*slices, strict=True)))


def hash_of_all(units: Units) -> np.uint64:
    """The hash of all units in a row."""
    return np.uint64(window_hashes(units, np.array([len(units.hashes)]))[0])

"""Which of many rows has a key that an earlier row has: by files on disk, in bounded memory.

Rows are dealt into files by their keys, so that equal ones meet in one file, and each file fits into memory (Grace hash
join; Kitsuregawa et al. 1983). A *place* is the number of a document, counted over all parts, and in its low bits where
in the document the row is: places are in the order of the text, and the lowest of equal rows is the one that stays.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from danlu.clean.duplicates import Sketched

Integers = NDArray[np.int64]
Keys = NDArray[np.uint64]
_LONG = 8  # bytes of a number
_COPIES = 8  # how often a row is in memory while it is sorted, at most
_MOST_FILES = 1 << 16


class Copies(NamedTuple):
    """Rows whose keys earlier rows have: their keys (rows, width), their places and the places of those (rows,)."""

    keys: Keys
    places: Integers
    firsts: Integers


class Places:
    """The numbers of the documents of all parts, and of what is in them."""

    def __init__(self, parts: Sequence[Sketched], most: int = 1) -> None:
        """``most``: one more than the largest number of something within a document."""
        self.starts: Integers = np.cumsum([0, *(part.documents for part in parts)], dtype=np.int64)
        """The number of each part's first document, and of all documents."""
        self.shift = max(0, most - 1).bit_length()

    @property
    def total(self) -> int:
        """How many documents there are."""
        return int(self.starts[-1])

    def of(self, part: int, documents: Integers, within: Integers | int = 0) -> Integers:
        """The places of rows in documents of a part."""
        numbers: Integers = documents + self.starts[part]
        return numbers << self.shift | within

    def documents(self, places: Integers) -> Integers:
        """The numbers, over all parts, of their documents."""
        return places >> self.shift

    def within(self, places: Integers) -> Integers:
        """Where they are in their documents."""
        return places & ((1 << self.shift) - 1)

    def parts(self, places: Integers) -> Integers:
        """The parts that they are in."""
        return np.searchsorted(self.starts, self.documents(places), side="right").astype(np.int64) - 1


class Dealt:
    """Rows of whole numbers in files, dealt by a number that comes with each; read file by file, as they were added.

    Use it as a context manager: the files go when it ends.
    """

    def __init__(self, folder: Path, *, files: int, width: int, memory: int) -> None:
        self.folder, self.files, self.width = folder, files, width
        self._most = max(1, memory // (_LONG * (width + 1) * 4))
        self._waiting: list[tuple[NDArray[Any], Integers]] = []
        self._rows = 0
        shutil.rmtree(folder, ignore_errors=True)  # what a run that was killed left
        folder.mkdir(parents=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def add(self, rows: NDArray[Any], which: Integers) -> None:
        """Add rows (rows, width) of 64 bits each, each to the file of the number beside it (rows,)."""
        for start in range(0, len(rows), self._most):
            self._waiting.append((rows[start : start + self._most], which[start : start + self._most]))
            self._rows += len(self._waiting[-1][0])
            if self._rows >= self._most:
                self._write()

    def read(self, file: int, most: int | None = None) -> Iterator[NDArray[np.int64]]:
        """The rows of one file, in pieces of at most so many rows."""
        self._write()
        path = self.folder / str(file)
        if path.exists():
            with path.open("rb") as opened:
                count = -1 if most is None else most * self.width
                while (values := np.fromfile(opened, np.int64, count)).size:
                    yield values.reshape(-1, self.width)

    def all(self, file: int) -> NDArray[np.int64]:
        """All rows of one file."""
        return next(self.read(file), np.empty((0, self.width), np.int64))

    def _write(self) -> None:
        if not self._rows:
            return
        rows = np.concatenate([rows for rows, _ in self._waiting])
        which = np.concatenate([which for _, which in self._waiting])
        self._waiting, self._rows = [], 0
        order = np.argsort(which.astype(np.uint16) if self.files <= _MOST_FILES else which, kind="stable")
        rows, which = np.take(rows, order, axis=0), which[order]  # far faster than rows[order]
        starts = [0, *(np.flatnonzero(which[1:] != which[:-1]) + 1).tolist()]
        for number, start, end in zip(which[starts].tolist(), starts, [*starts[1:], len(rows)], strict=True):
            with (self.folder / str(number)).open("ab") as file:
                rows[start:end].tofile(file)


class Repeats:
    """Rows by their keys; once all are added, going through it gives those whose keys an earlier row has.

    Keys have to be evenly spread, as hashes are, and rows of one key have to be added in the order of their places.
    """

    def __init__(self, folder: Path, *, rows: int, memory: int, width: int = 1) -> None:
        """``rows``: how many there will be, about; ``width``: how many numbers a key has."""
        self.width = width
        self._most = max(1, memory // (_LONG * (width + 1) * _COPIES))
        files = min(_MOST_FILES, -(-rows // self._most) or 1)
        self._dealt = Dealt(folder, files=files, width=width + 1, memory=memory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._dealt.__exit__()

    def add(self, keys: Keys, places: Integers) -> None:
        """Add rows: keys (rows,) or (rows, width) and places (rows,)."""
        keys = keys.reshape(len(places), self.width)
        rows = np.empty((len(places), self.width + 1), np.int64)
        rows[:, :-1] = keys.view(np.int64)
        rows[:, -1] = places
        high = keys[:, 0] >> np.uint64(32)
        self._dealt.add(rows, ((high * np.uint64(self._dealt.files)) >> np.uint64(32)).astype(np.int64))

    def __iter__(self) -> Iterator[Copies]:
        for file in range(self._dealt.files):
            known: NDArray[np.int64] | None = None
            for rows in self._dealt.read(file, self._most):
                together = rows if known is None else np.concatenate([known, rows])
                copies = _copies(together)
                if len(copies.places):
                    yield copies
                # Where one key has so many rows that its file is large, a row of each key goes on to the next piece.
                if known is not None or len(rows) == self._most:
                    known = _firsts(together)


def _copies(rows: NDArray[np.int64]) -> Copies:
    """Those of the rows (keys and place) whose keys earlier ones have, in order of keys and places."""
    high = np.ascontiguousarray(rows[:, 0])
    order = np.argsort(high)
    high = high[order]
    alike = np.zeros(len(rows) + 1, np.bool_)
    alike[1:-1] = high[1:] == high[:-1]
    rows = np.take(rows, order[alike[1:] | alike[:-1]], axis=0)  # few, as a rule
    rows, new = _ordered(rows)
    firsts = rows[np.flatnonzero(new), -1][np.cumsum(new) - 1]
    keys = np.ascontiguousarray(rows[~new, :-1]).view(np.uint64)
    return Copies(keys, np.ascontiguousarray(rows[~new, -1]), firsts[~new])


def _firsts(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first row of each key."""
    rows, new = _ordered(rows)
    return rows[new]


def _ordered(rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The rows in order of keys and places, and which of them begin a key."""
    rows = np.take(rows, np.lexsort(rows.T[::-1]), axis=0)
    new = np.ones(len(rows), np.bool_)
    new[1:] = (rows[1:, :-1] != rows[:-1, :-1]).any(axis=1)
    return rows, new


def by_part(copies: Iterable[Copies], places: Places, dealt: Dealt) -> None:
    """Deal copies to their parts: rows of the place and the first place."""
    for each in copies:
        dealt.add(np.stack([each.places, each.firsts], axis=1), places.parts(each.places))


def in_order(dealt: Dealt, part: int) -> tuple[Integers, Integers]:
    """The copies of a part that :func:`by_part` dealt, by place: places and first places (copies,)."""
    rows = dealt.all(part)
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    return rows[:, 0], rows[:, 1]


def extent(counts: Iterable[Integers]) -> tuple[int, int]:
    """Of how many things each document has, part by part (documents,): the most, and how many there are."""
    most = rows = 0
    for each in counts:
        most, rows = max(most, int(each.max(initial=0))), rows + int(each.sum())
    return most, rows


def owners(counts: Integers) -> tuple[Integers, Integers]:
    """Of things of which each document has so many (documents,): the document of each, its number there (things,)."""
    documents = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(len(documents)) - np.repeat(np.cumsum(counts) - counts, counts)
    return documents, within

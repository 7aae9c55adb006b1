"""Documents that are nearly the same: MinHash with locality-sensitive hashing (Broder 1997; Indyk and Motwani 1998).

The signature of a document (:mod:`danlu.clean.signature`) is cut into *bands* of so many *rows*. Two documents of a
Jaccard index s agree in all rows of a band with the chance s^r, and in at least one of b bands with 1 - (1 - s^r)^b
(Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, chapter 3). With 50 bands of 4 rows:

    ======== ====== ====== ====== ====== ====== ====== ======
    index     0.05   0.1    0.3    0.4    0.5    0.6    0.7
    chance   0.0003 0.005  0.33   0.73   0.96   0.999  1.0
    ======== ====== ====== ====== ====== ====== ====== ======

Documents that agree in a band are only asked about: they are near where at least ``similarity`` of all entries agree,
which is the index give or take 0.035 (one standard deviation at 0.5). Documents that are near, or near to ones that are
near, are a cluster, whose first one stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from danlu.clean.duplicates import WHOLE, Duplicates, Sketch, Sketched, write_cuts
from danlu.clean.repeats import Copies, Integers, Keys, Places, Repeats
from danlu.clean.signature import signatures

_ROUNDS = 8
_AT_ONCE = 1 << 12  # documents whose bands are hashed at once
_A, _B, _HALF = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93), np.uint64(32)


class MinHash(Duplicates):
    """Drop documents that nearly repeat an earlier one; case, spaces and punctuation do not count."""

    reason: ClassVar[str] = "near duplicate"

    similarity: float = Field(default=0.5, gt=0, le=1)
    """The share of pieces, of those in either document, that are in both: 0.5 where about one word of eight differs."""
    bands: int = Field(default=50, ge=1)
    """Groups of entries of a signature; documents that agree in one of them are compared."""
    rows: int = Field(default=4, ge=1)
    """Entries of a group; 2 bytes each in the sketch of a document."""

    def sketch(self, texts: Sequence[str]) -> Sketch:
        """``entries`` (documents, bands * rows)."""
        return {"entries": signatures(texts, self.bands * self.rows)}

    def decide(self, parts: Sequence[Sketched], out: Path) -> list[Path]:
        """Drop all but the first document of each cluster."""
        places = Places(parts)
        share, rows = self.memory // 4, places.total * self.bands
        with Clusters(out / "clusters", places.total) as clusters:
            waiting = Repeats(out / "bands-0", rows=rows, memory=share)
            self._add_bands(parts, places, waiting)
            for number in range(1, _ROUNDS + 1):
                # What agrees in a band with its first document but is not near to it may be near to others there.
                others = Repeats(out / f"bands-{number % 2}", rows=rows, memory=share)
                left = 0
                with waiting:
                    for copies in waiting:
                        near = self._near(parts, places, copies)
                        clusters.join(copies.places[near], copies.firsts[near])
                        others.add(copies.keys[~near], copies.places[~near])
                        left += int((~near).sum())
                waiting = others
                if not left:
                    break
            with waiting:
                return [_write(out, number, places, clusters) for number in range(len(parts))]

    def _add_bands(self, parts: Sequence[Sketched], places: Places, repeats: Repeats) -> None:
        """A row for each band of each document."""
        for number, part in enumerate(parts):
            entries, standing = part.load()["entries"], part.standing()
            for start in range(0, len(standing), _AT_ONCE):
                piece = entries[start : start + _AT_ONCE]
                chosen = np.flatnonzero(standing[start : start + _AT_ONCE] & piece.any(axis=1))
                keys = self._keys(piece[chosen]) ^ self.salt(part)
                repeats.add(keys.ravel(), np.repeat(places.of(number, chosen + start), self.bands))

    def _keys(self, entries: NDArray[np.uint16]) -> Keys:
        """A key of each band (documents, bands); those of different bands differ."""
        rows = entries.reshape(len(entries), self.bands, self.rows).astype(np.uint64)
        keys = np.broadcast_to(np.arange(1, self.bands + 1, dtype=np.uint64) * _A, rows.shape[:2]).copy()
        for row in range(self.rows):
            keys ^= rows[:, :, row]
            keys *= _B
            keys ^= keys >> _HALF
        return keys * _A

    def _near(self, parts: Sequence[Sketched], places: Places, copies: Copies) -> NDArray[np.bool_]:
        """Which of them are near to the first document of their band: (copies,)."""
        pairs, back = np.unique(copies.firsts * places.total + copies.places, return_inverse=True)
        near = np.empty(len(pairs), np.bool_)
        at_once = max(1, self.memory // (self.bands * self.rows * 16))
        for start in range(0, len(pairs), at_once):
            firsts, others = np.divmod(pairs[start : start + at_once], places.total)
            same = _entries(parts, places, firsts) == _entries(parts, places, others)
            near[start : start + at_once] = same.sum(axis=1) >= self.similarity * self.bands * self.rows
        return near[back]


def _entries(parts: Sequence[Sketched], places: Places, documents: Integers) -> NDArray[np.uint16]:
    """The signatures of documents of any parts: (documents, entries)."""
    order = np.argsort(documents, kind="stable")
    ordered = documents[order]
    found: NDArray[np.uint16] | None = None
    for number in np.unique(places.parts(ordered)).tolist():
        start, end = np.searchsorted(ordered, places.starts[number : number + 2]).tolist()
        entries = parts[number].load()["entries"]
        if found is None:
            found = np.empty((len(documents), entries.shape[1]), np.uint16)
        found[order[start:end]] = entries[ordered[start:end] - places.starts[number]]
    assert found is not None, "there is nothing to look up"
    return found


def _write(out: Path, number: int, places: Places, clusters: Clusters) -> Path:
    start, end = places.starts[number : number + 2]
    documents = np.arange(start, end)
    firsts = clusters.firsts(documents)
    fallen = firsts != documents
    columns = {"document": documents[fallen] - start, "start": 0, "end": WHOLE, "first": firsts[fallen]}
    return write_cuts(out, number, columns)


class Clusters:
    """Documents that belong together, by union and find over a file of 8 bytes a document; the first stands for all.

    Use it as a context manager: the file goes when it ends.
    """

    def __init__(self, path: Path, documents: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._above = np.memmap(path, np.int64, "w+", shape=(max(1, documents),))
        for start in range(0, documents, 1 << 20):
            self._above[start : start + (1 << 20)] = np.arange(start, min(documents, start + (1 << 20)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        del self._above
        self._path.unlink()

    def firsts(self, documents: Integers) -> Integers:
        """The first documents of the clusters that these are in."""
        found = self._above[documents]
        while ((higher := self._above[found]) != found).any():
            found = higher
        self._above[documents] = found
        return np.asarray(found)

    def join(self, some: Integers, others: Integers) -> None:
        """Make one cluster of each two that a document and the one beside it are in."""
        while True:
            some, others = self.firsts(some), self.firsts(others)
            apart = some != others
            if not apart.any():
                return
            some, others = some[apart], others[apart]
            np.minimum.at(self._above, np.maximum(some, others), np.minimum(some, others))

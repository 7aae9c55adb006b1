"""Runs of characters that stand in the text before, in another document or in the same one (Lee et al. 2022).

What is found is what a suffix array of all the text would find (arXiv:2107.06499): every run of at least ``characters``
characters that has been there before, wherever it begins and ends; nothing else. But only the text around likely
repeats is sorted, and in files, so that memory does not grow with the text. First *anchors* are compared
(:mod:`danlu.clean.windows`), a few runs of half the length, of which any two equal runs of the whole length have one in
common. Around those that repeat, every run of the whole length is compared, by its hash of 64 bits. A run is no copy of
one that it overlaps: of a line of a thousand dashes the first ones stay.

Where documents are dropped and not cut, one falls that has a run of one before it that stays: were those counted that
fall themselves, of two documents with a run of their own both could be gone, and the run with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from danlu.clean.duplicates import WHOLE, Duplicates, DuplicatesChoice, Sketch, Sketched, write_cuts
from danlu.clean.exact import Exact
from danlu.clean.repeats import Copies, Dealt, Integers, Places, Repeats, by_part, extent, in_order, owners
from danlu.clean.windows import BLOCK, anchors, codes, window_hashes

_ROUNDS = 8
"""How often it is asked which documents stay; each round decides on those that wait for one decided before."""
_PAIRS = 1 << 20
"""Pairs of documents in memory."""


class Substrings(Duplicates):
    """Cut long pieces of text that have been there before, or drop the documents that have such pieces."""

    reason: ClassVar[str] = "repeated text"

    characters: int = Field(default=100, ge=4)
    """What is shorter is no repeat. For Chinese alone 50 is about as much text."""
    then: Literal["cut", "drop"] = "cut"
    """Cut what is repeated out of its document, or drop the document where it is in another one that stays."""

    @property
    def cuts(self) -> bool:
        return self.then == "cut"

    def sketch(self, texts: Sequence[str]) -> Sketch:
        """The texts themselves, and their anchors.

        ``anchors``, ``characters`` and ``bytes`` (documents,): how many each has; ``start`` and ``key`` (anchors,);
        ``text`` (bytes,) in UTF-8.
        """
        width = self.characters // 2
        found = [anchors(codes(text), width, self.characters - width + 1) for text in texts]
        contents = [text.encode(errors="surrogatepass") for text in texts]
        return {
            "anchors": np.array([len(starts) for starts, _ in found], np.int64),
            "characters": np.array([len(text) for text in texts], np.int64),
            "bytes": np.array([len(content) for content in contents], np.int64),
            "start": np.concatenate([np.empty(0, np.int64), *(starts for starts, _ in found)]),
            "key": np.concatenate([np.empty(0, np.uint64), *(keys for _, keys in found)]),
            "text": np.frombuffer(b"".join(contents), np.uint8),
        }

    def decide(self, parts: Sequence[Sketched], out: Path) -> list[Path]:
        """Cut every run that has been there before, or drop its document."""
        longest, characters = extent(part.load()["characters"] for part in parts)
        places, share = Places(parts, most=longest), self.memory // 3
        with Dealt(out / "marks", files=len(parts), width=1, memory=share) as marks:
            repeated = self._mark(parts, places, marks, out)
            runs = min(characters, repeated * (self.characters - self.characters // 2 + 1))
            asked = _Asked(parts, places, marks, out / "runs", runs)
            if self.then == "drop":
                return self._drop(asked, out)
            with Dealt(out / "copies", files=len(parts), width=2, memory=share) as copies:
                by_part(self._apart(self._copies(asked), places), places, copies)
                return [self._write(out, number, places, copies) for number in range(len(parts))]

    def _mark(self, parts: Sequence[Sketched], places: Places, marks: Dealt, out: Path) -> int:
        """Deal the places of all anchors that there are more than one of to their parts; how many these are, about."""
        _, rows = extent(part.load()["anchors"] for part in parts)
        found = 0
        with Repeats(out / "anchors", rows=rows, memory=self.memory // 3) as repeats:
            for number, part in enumerate(parts):
                sketch = part.load()
                documents, _ = owners(sketch["anchors"])
                chosen = np.flatnonzero(part.standing()[documents])
                where = places.of(number, documents[chosen], sketch["start"][chosen])
                repeats.add(sketch["key"][chosen] ^ self.salt(part), where)
            for copies in repeats:
                both = np.concatenate([copies.places, np.unique(copies.firsts)])
                marks.add(both[:, None], places.parts(both))
                found += len(both)
        return found

    def _copies(self, asked: _Asked, gone: NDArray[np.bool_] | None = None) -> Iterator[Copies]:
        """The runs that have been there before; those of documents that are ``gone`` (documents,) count nowhere."""
        places, marks = asked.places, asked.marks
        with Repeats(asked.folder, rows=asked.runs, memory=self.memory // 3) as repeats:
            for number, part in enumerate(asked.parts):
                marked = np.unique(marks.all(number)[:, 0])
                if gone is not None:
                    marked = marked[~gone[places.documents(marked)]]
                for keys, where in self._runs(part, places, number, marked):
                    repeats.add(keys ^ self.salt(part), where)
            yield from repeats

    def _runs(
        self, part: Sketched, places: Places, number: int, marked: Integers
    ) -> Iterator[tuple[NDArray[np.uint64], Integers]]:
        """The hashes and places of all runs around the marked anchors of a part, in order."""
        if not len(marked):
            return
        sketch = part.load()
        ends = np.cumsum(sketch["bytes"])
        documents = places.documents(marked) - places.starts[number]
        width = self.characters - self.characters // 2
        for document in np.unique(documents).tolist():
            first, last = np.searchsorted(documents, [document, document + 1]).tolist()
            content = sketch["text"][ends[document] - sketch["bytes"][document] : ends[document]]
            text = codes(content.tobytes().decode(errors="surrogatepass"))
            starts = places.within(marked[first:last])
            latest = len(text) - self.characters
            begins, ends_ = np.clip(starts - width, 0, None), np.clip(starts, None, latest) + 1
            for begin, end in _merged(begins, ends_):
                for start in range(begin, end, BLOCK):
                    stop = min(end, start + BLOCK)
                    keys = window_hashes(text[start : stop + self.characters - 1], self.characters)
                    yield keys, places.of(number, np.full(stop - start, document), np.arange(start, stop))

    def _apart(self, repeats: Iterable[Copies], places: Places) -> Iterator[Copies]:
        """Those that do not overlap the first one."""
        for copies in repeats:
            same = places.documents(copies.places) == places.documents(copies.firsts)
            apart = ~same | (copies.places - copies.firsts >= self.characters)
            yield Copies(copies.keys[apart], copies.places[apart], copies.firsts[apart])

    def _write(self, out: Path, number: int, places: Places, copies: Dealt) -> Path:
        """The runs of a part, those joined that touch, or the documents that have any."""
        copied, firsts = in_order(copies, number)
        documents, starts = places.documents(copied) - places.starts[number], places.within(copied)
        new = np.ones(len(copied), np.bool_)
        new[1:] = (documents[1:] != documents[:-1]) | (starts[1:] > starts[:-1] + self.characters)
        begin = np.flatnonzero(new)
        last = np.append(begin[1:], len(copied))[: len(begin)] - 1
        columns = {
            "document": documents[begin],
            "start": starts[begin],
            "end": starts[last] + self.characters,
            "first": places.documents(firsts[begin]),
        }
        return write_cuts(out, number, columns)

    def _drop(self, asked: _Asked, out: Path) -> list[Path]:
        """The documents that fall, part by part, each with the first one that stays and has a run of it."""
        total = asked.places.total
        path = out / "first-of"
        first_of = np.memmap(path, np.int64, "w+", shape=(max(1, total),))
        first_of[:] = total
        for left in reversed(range(_ROUNDS)):
            if not self._ask(asked, out, first_of, last=not left):
                break
        files = []
        for number in range(len(asked.parts)):
            start, end = asked.places.starts[number : number + 2].tolist()
            fallen = np.flatnonzero(first_of[start:end] < total)
            firsts = np.asarray(first_of[start:end][fallen])
            files.append(write_cuts(out, number, {"document": fallen, "start": 0, "end": WHOLE, "first": firsts}))
        del first_of
        path.unlink()
        return files

    def _ask(self, asked: _Asked, out: Path, first_of: Integers, *, last: bool) -> bool:
        """Have those fall that have a run of one that is sure to stay; whether others wait, who in the ``last`` round
        fall too."""
        places = asked.places
        waiting = np.zeros(len(first_of), np.bool_)
        with Dealt(out / "pairs", files=1, width=2, memory=self.memory // 3) as pairs:
            for copies in self._copies(asked, first_of < places.total):
                both = np.stack([places.documents(copies.places), places.documents(copies.firsts)], axis=1)
                both = np.unique(both[both[:, 0] != both[:, 1]], axis=0)
                waiting[both[:, 0]] = True
                pairs.add(both, np.zeros(len(both), np.int64))
            for rows in pairs.read(0, _PAIRS):
                sure = rows if last else rows[~waiting[rows[:, 1]]]
                np.minimum.at(first_of, sure[:, 0], sure[:, 1])
        return bool((waiting & (first_of == places.total)).any())


def notes_on_order(choices: Sequence[DuplicatesChoice]) -> Iterator[str]:
    """What a user should know who has documents dropped for a passage once copies that may lack it are gone."""
    for number, choice in enumerate(choices):
        before = [each.reason for each in choices[:number] if not getattr(each, "cuts", False)]
        unlike = [reason for reason in before if reason != Exact.reason]
        if isinstance(choice, Substrings) and not choice.cuts and unlike:
            yield (
                f"clean: duplicates.{number} drops documents for a passage after copies were dropped ({unlike[0]}), "
                "also the one that had stayed of them: name it first, so that one of them is kept"
            )


@dataclass(frozen=True, slots=True)
class _Asked:
    """All parts, with the marked anchors around which runs are compared."""

    parts: Sequence[Sketched]
    places: Places
    marks: Dealt
    folder: Path
    """For temporary files."""
    runs: int
    """How many there are, about."""


def _merged(begins: Integers, ends: Integers) -> Iterator[tuple[int, int]]:
    """Join stretches, in order of their begins, that touch or overlap; empty ones are left out."""
    begins, ends = begins[begins < ends], ends[begins < ends]
    if not len(begins):
        return
    new = np.ones(len(begins), np.bool_)
    reached = np.maximum.accumulate(ends)
    new[1:] = begins[1:] > reached[:-1]
    first = np.flatnonzero(new)
    last = np.append(first[1:], len(begins)) - 1
    yield from zip(begins[first].tolist(), reached[last].tolist(), strict=True)

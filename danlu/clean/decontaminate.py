"""Text of evaluation sets, found by the long n-grams that a document shares with them, dropped or cut out.

As for GPT-3 (Brown et al. 2020, arXiv:2005.14165, appendix C): 13 words in a row, in small letters and without marks,
are contamination, and items of 8 to 12 words are compared whole; what is cut goes with 200 characters on both sides.
Chinese has no spaces: there 20 characters count as 13 words, for a Chinese word has 1.5 characters on average, and
items of 12 to 19 characters are compared whole.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from danlu.clean.entries import DECONTAMINATED
from danlu.clean.evaluation_items import READERS, read_items
from danlu.clean.ngram_windows import Hashes, Length, Units, joined, tail, units_of, window_ends, window_hashes
from danlu.clean.rules import Rule
from danlu.errors import InputError
from danlu.recipe import Choice, Settings
from danlu.text.document import Document

SHORTEST_PIECE = 200
"""Characters of a piece between two cuts that stays (GPT-3)."""


class EvaluationSet(Settings):
    """A file of items, or a folder of such files."""

    short = "path"

    path: Path
    """.jsonl, .json, .csv, .tsv, .parquet or .txt (a line is an item), or a folder that holds such files."""
    fields: tuple[str, ...] | None = None
    """Whose texts count, such as ``question`` and ``choices``; all by default."""

    def files(self) -> list[Path]:
        """The files, sorted.

        Raises:
            InputError: there are none.
        """
        if not self.path.is_dir():
            return [self.path]
        endings = {*READERS, ".gz"}
        files = sorted(path for path in self.path.rglob("*") if path.suffix.lower() in endings and path.is_file())
        if not files:
            raise InputError(f"clean.rules: no file in {self.path} ends in {' '.join(READERS)}")
        return files


class Decontaminate(Choice):
    """Drop documents that share a long run of words with an evaluation set, or cut it out of them."""

    files: tuple[EvaluationSet, ...] = Field(min_length=1)
    """Evaluation sets; each a path, or a mapping with ``path`` and ``fields``."""
    words: int = Field(default=13, ge=4)
    """Words in a row that no two texts share by chance."""
    characters: int = Field(default=20, ge=6)
    """Characters in a row, in scripts without spaces."""
    shortest_words: int = Field(default=8, ge=3)
    """Shorter items are not looked for; those between are compared whole."""
    shortest_characters: int = Field(default=12, ge=4)
    """The same in scripts without spaces."""
    common: int = Field(default=10, ge=1)
    """A run that more different texts of one set share is its instruction, not its content, and does not count."""
    action: Literal["drop", "cut"] = "drop"
    """What becomes of a document; a pair of two texts is dropped in either case."""
    margin: int = Field(default=200, ge=0)
    """Characters that are cut on both sides of what is shared."""

    @model_validator(mode="after")
    def _in_order(self) -> Decontaminate:
        if self.shortest_words > self.words or self.shortest_characters > self.characters:
            raise ValueError("shortest_words and shortest_characters must not be above words and characters")
        return self

    def external_files(self) -> list[Path]:
        """The files of all sets."""
        return [file for each in self.files for file in each.files()]

    def names(self) -> list[str]:
        """A name for each set, as reasons give it: its last part, with as many before it as tell them apart."""
        depth = 1
        paths = [each.path.resolve() for each in self.files]
        while len({path.parts[-depth:] for path in paths}) < len(set(paths)):
            depth += 1
        return ["/".join(path.parts[-depth:]) for path in paths]

    def index(self) -> Index:
        """The hashes of all that is looked for.

        Raises:
            InputError: a file cannot be read, lacks a field, or holds no text.
        """
        lengths = Length(self.words, self.characters), Length(self.shortest_words, self.shortest_characters)
        index = Index(*lengths)
        for number, each in enumerate(self.files):
            index.add(number, _texts_of(each, index), common=self.common)
        return index

    def notes(self) -> list[str]:
        """What a user should know before a run: how many items are too short to be looked for."""
        index = self.index()
        if not index.uncovered:
            return []
        what = f"shorter than {self.shortest_words} words or {self.shortest_characters} characters"
        return [
            f"clean: decontaminate looks for {index.items - index.uncovered} of {index.items} items; the rest is {what}"
        ]

    def make(self) -> Rule:
        """The rule; its reason names the evaluation set."""
        return partial(self._apply, index=self.index(), names=self.names())

    def _apply(self, document: Document, *, index: Index, names: list[str]) -> str | None:
        hits = index.hits(document.text)
        first = next(hits, None)
        if first is None:
            return None
        reason = f"contaminated ({names[first.file]})"
        if self.action == "drop" or len(document.sides) > 1:
            return reason
        all_hits = [first, *hits]
        kept = _without(document.text, [(hit.start - self.margin, hit.end + self.margin) for hit in all_hits])
        if not kept:
            return reason
        document.text = kept
        document.meta[DECONTAMINATED] = ", ".join(sorted({names[hit.file] for hit in all_hits}))
        return None


class Hit(NamedTuple):
    """The characters ``[start, end)`` of a document stand in the evaluation set of this number."""

    start: int
    end: int
    file: int


@dataclass
class Index:
    """Hashes of the windows of evaluation sets, 10 bytes each and as many in a filter; none of their text."""

    length: Length
    shortest: Length
    items: int = 0
    uncovered: int = 0
    _hashes: list[Hashes] = field(default_factory=list)
    _files: list[npt.NDArray[np.uint16]] = field(default_factory=list)
    _whole: dict[int, list[tuple[int, int, int]]] = field(default_factory=dict)
    """By the hash of the first, shortest window of a short text: its units, its own hash, its set."""

    def add(self, file: int, items: Iterator[list[str]], *, common: int) -> None:
        """Read the items of one evaluation set."""
        seen: set[int] = set()
        windows: list[Hashes] = [np.zeros(0, np.uint64)]
        for item in items:
            self.items += 1
            covered = False
            for text in item:
                units = _all_units(text)
                ends = window_ends(units, self.length)
                whole = int(_hash_of_all(units)) if len(units.hashes) else 0
                if len(ends):
                    covered = True
                    if whole not in seen:
                        windows.append(np.unique(window_hashes(units, ends)))
                elif len(first := window_ends(units, self.shortest)):
                    covered = True
                    if whole not in seen:
                        trigger = int(window_hashes(units, first[:1])[0])
                        self._whole.setdefault(trigger, []).append((len(units.hashes), whole, file))
                seen.add(whole)
            self.uncovered += not covered
        hashes, counts = np.unique(np.concatenate(windows), return_counts=True)
        self._hashes.append(hashes[counts <= common])
        self._files.append(np.full(len(self._hashes[-1]), file, np.uint16))

    def hits(self, text: str) -> Iterator[Hit]:
        """What of ``text`` stands in an evaluation set, in order but for overlaps."""
        long, short = self._tables
        most = max(self.length.most_units, self.shortest.most_units)
        units: Units | None = None
        for more in units_of(text):
            units = more if units is None else joined(tail(units, most), more)
            ends = window_ends(units, self.length)
            for place, file in long.found(window_hashes(units, ends)):
                yield Hit(int(units.starts[place]), int(units.ends[ends[place] - 1]), file)
            if self._whole:
                yield from self._short_hits(units, short)

    def _short_hits(self, units: Units, table: Table) -> Iterator[Hit]:
        hashes = window_hashes(units, window_ends(units, self.shortest))
        for place, _ in table.found(hashes):
            for count, whole, file in self._whole[int(hashes[place])]:
                if place + count <= len(units.hashes):
                    part = units.part(place, place + count)
                    if int(_hash_of_all(part)) == whole:
                        yield Hit(int(part.starts[0]), int(part.ends[-1]), file)

    @cached_property
    def _tables(self) -> tuple[Table, Table]:
        hashes, first = np.unique(np.concatenate(self._hashes), return_index=True)
        triggers = np.array(sorted(self._whole), np.uint64)
        nobody = np.zeros(len(triggers), np.uint16)
        return Table.of(hashes, np.concatenate(self._files)[first]), Table.of(triggers, nobody)


class Table(NamedTuple):
    """Sorted hashes, the set of each, and a filter by their last bits that most other hashes do not pass."""

    hashes: Hashes
    files: npt.NDArray[np.uint16]
    filter: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, hashes: Hashes, files: npt.NDArray[np.uint16]) -> Table:
        """A table; its filter has 16 to 32 places a hash, within 64 KB and 256 MB."""
        bits = min(28, max(16, (16 * len(hashes)).bit_length()))
        passes = np.zeros(1 << bits, np.bool_)
        passes[hashes & np.uint64(len(passes) - 1)] = True
        return cls(hashes, files, passes)

    def found(self, hashes: Hashes) -> Iterator[tuple[int, int]]:
        """The number of each hash that is in the table, and the set that it is of."""
        places = np.flatnonzero(self.filter[hashes & np.uint64(len(self.filter) - 1)])
        if len(places) == 0 or len(self.hashes) == 0:
            return
        rows = np.searchsorted(self.hashes, hashes[places]).clip(max=len(self.hashes) - 1)
        same = self.hashes[rows] == hashes[places]
        yield from zip(places[same].tolist(), self.files[rows[same]].tolist(), strict=True)


def _texts_of(each: EvaluationSet, index: Index) -> Iterator[list[str]]:
    before = index.items
    for file in each.files():
        yield from read_items(file, each.fields)
    if index.items == before:
        raise InputError(f"clean.rules: {each.path} holds no items")


def _all_units(text: str) -> Units:
    """The units of a whole text of an evaluation set, in the Unicode form that documents have."""
    nothing = np.zeros(0, np.int64)
    units = Units(np.zeros(0, np.uint64), nothing, nothing, np.zeros(0, np.bool_))
    for more in units_of(unicodedata.normalize("NFC", text)):
        units = joined(units, more)
    return units


def _hash_of_all(units: Units) -> np.uint64:
    return np.uint64(window_hashes(units, np.array([len(units.hashes)]))[0])


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    """The pieces of ``text`` between the spans that are long enough to stay, a blank line between them."""
    pieces: list[str] = []
    place = 0
    for start, end in sorted(spans):
        if start > place:
            pieces.append(text[place:start])
        place = max(place, end)
    pieces.append(text[place:])
    kept = [piece.strip() for piece in pieces]
    return "\n\n".join(piece for piece in kept if len(piece) >= SHORTEST_PIECE)

"""Text of evaluation sets, found by the long n-grams that a document shares with them, dropped or cut out.

As for GPT-3 (Brown et al. 2020, arXiv:2005.14165, appendix C): 13 words in a row, in small letters and without marks,
are contamination, and items of 8 to 12 words are compared whole; what is cut goes with 200 characters on both sides.
Chinese has no spaces: there 20 characters count as 13 words, for a Chinese word has 1.5 characters on average, and
items of 12 to 19 characters are compared whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from pydantic import Field, model_validator

from danlu import log
from danlu.clean.arrays import Arrays
from danlu.clean.entries import DECONTAMINATED
from danlu.clean.evaluation_items import READERS, read_items
from danlu.clean.ngram_index import Index, Indexing
from danlu.clean.ngram_windows import Length
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

    def make(self) -> Rule:
        """Read the evaluation sets, and tell how many items are looked for; the rule's reason names the set.

        Raises:
            InputError: a file cannot be read, lacks a field, or holds no text.
        """
        learned, said = self.learn()
        log.say(said)
        return self.rule(learned)

    def learn(self) -> tuple[Arrays, str]:
        """The hashes of all that is looked for, and a line that tells how many items that is.

        Raises:
            InputError: a file cannot be read, lacks a field, or holds no text.
        """
        with TemporaryDirectory(prefix="danlu-") as folder, Indexing(Path(folder), *self._lengths) as indexing:
            for number, each in enumerate(self.files):
                indexing.add(number, _items_of(each))
            arrays = indexing.arrays(self.common)  # what is mapped stays until nobody looks at it, and then is gone
        items, left = indexing.items, indexing.uncovered
        if not left:
            return arrays, f"decontaminate: looks for all of {items:,} items"
        what = f"shorter than {self.shortest_words} words or {self.shortest_characters} characters"
        return arrays, f"decontaminate: looks for {items - left:,} of {items:,} items; the rest is {what}"

    def rule(self, learned: Arrays) -> Rule:
        """The rule by what :meth:`learn` gave."""
        return partial(self._apply, index=Index(learned, *self._lengths), names=self.names())

    @property
    def _lengths(self) -> tuple[Length, Length]:
        """Of a window, and of the shortest item."""
        return Length(self.words, self.characters), Length(self.shortest_words, self.shortest_characters)

    def _apply(self, document: Document, *, index: Index, names: list[str]) -> str | None:
        hits = index.hits(document.text)
        first = next(hits, None)
        if first is None:
            return None
        reason = f"contaminated ({names[first.set]})"
        if self.action == "drop" or len(document.sides) > 1:
            return reason
        all_hits = [first, *hits]
        kept = _without(document.text, [(hit.start - self.margin, hit.end + self.margin) for hit in all_hits])
        if not kept:
            return reason
        document.text = kept
        document.meta[DECONTAMINATED] = ", ".join(sorted({names[hit.set] for hit in all_hits}))
        return None


def _items_of(each: EvaluationSet) -> Iterator[list[str]]:
    item = None
    for file in each.files():
        for item in read_items(file, each.fields):
            yield item
    if item is None:
        raise InputError(f"clean.rules: {each.path} holds no items")


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

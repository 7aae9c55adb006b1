"""A user's list of phrases and names, and where they stand in a text: for masking them whole.

Sun et al. 2019, ERNIE (arXiv:1904.09223), mask phrases and entities; so does whole-phrase masking of every kind.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from danlu.errors import InputError
from danlu.text.words import is_chinese, pieces

_PARAGRAPH = re.compile(r"\n\s*\n")


@dataclass(frozen=True)
class Lexicon:
    """Phrases to be found in texts.

    A phrase stands where its words stand, each whole, one behind the other; a space of the phrase is any white space
    within a paragraph. Chinese characters each count as a word here. A phrase without a capital is found however it is
    written (``machine learning``, ``Machine Learning``), one with capitals only as it is (``US``, never ``us``).
    """

    phrases: frozenset[str]
    """The words of each, joined by ``_joined``."""
    lengths: dict[str, tuple[int, ...]]
    """By the first word, of how many words phrases are, the longest first."""

    @classmethod
    def of(cls, phrases: Iterable[str]) -> Lexicon:
        """The lexicon of ``phrases``, in which those without a word count nothing."""
        known: set[str] = set()
        lengths: defaultdict[str, set[int]] = defaultdict(set)
        for phrase in phrases:
            words = [word for _, _, word in _units(unicodedata.normalize("NFC", phrase))]
            if words:
                known.add(_joined(words))
                lengths[words[0]].add(len(words))
        return cls(frozenset(known), {first: tuple(sorted(counts, reverse=True)) for first, counts in lengths.items()})

    @classmethod
    def read(cls, path: Path) -> Lexicon:
        """The phrases in a UTF-8 file, one a line; what follows a tab (a count, a tag) is left out.

        Raises:
            InputError: it cannot be read, is not UTF-8 or holds no phrase.
        """
        try:
            content = path.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise InputError(f"cannot read the lexicon {path}: {error.strerror}") from None
        except UnicodeDecodeError as error:
            line = path.read_bytes().count(b"\n", 0, error.start) + 1
            raise InputError(f"the lexicon {path} is not UTF-8 in line {line}") from None
        lexicon = cls.of(line.partition("\t")[0] for line in content.split("\n"))
        if not lexicon.phrases:
            raise InputError(f"the lexicon {path} holds no phrase; it has one a line")
        return lexicon

    def find(self, text: str) -> Iterator[tuple[int, int]]:
        """Where phrases begin and end in ``text``, in characters; the leftmost first, of those the longest."""
        units = list(_units(text))
        written = [word for _, _, word in units]
        lowered = [word.lower() for word in written]
        place = 0
        while place < len(units):
            count = max(self._longest(written, place), self._longest(lowered, place))
            if count:
                yield units[place][0], units[place + count - 1][1]
            place += max(1, count)

    def _longest(self, words: list[str], place: int) -> int:
        """How many words the longest phrase has that begins at ``place``; 0 where none does."""
        first = words[place].lstrip(" \n")
        for count in self.lengths.get(first, ()):
            if _joined([first, *words[place + 1 : place + count]]) in self.phrases and place + count <= len(words):
                return count
        return 0


def _units(text: str) -> Iterator[tuple[int, int, str]]:
    """Words, marks and single Chinese characters: begin, end, and the text with what parts it from the one before."""
    behind = 0
    for start, end in pieces(text):
        gap = text[behind:start]
        space = ("\n" if _PARAGRAPH.search(gap) else " ") if gap and behind else ""
        behind = end
        if is_chinese(text, start):
            for place in range(start, end):
                yield place, place + 1, (space if place == start else "") + text[place]
        else:
            yield start, end, space + text[start:end]


def _joined(words: list[str]) -> str:
    return "\0".join(words)

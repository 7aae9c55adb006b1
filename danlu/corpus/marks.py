"""Where words, phrases and sentences begin, in tokens: one byte of marks a token, beside the tokens of a store.

A token with a mark begins something and one without goes on with it, so that each reaches to the next token of its
mark. Beginnings are nested: that of a sentence is that of a phrase, and that of a phrase is that of a word. A word
outside every phrase is a phrase by itself, as ERNIE masks them (Sun et al. 2019, arXiv:1904.09223). The end-of-text
token before a document and the document's first token have every mark.

A token may hold the end of one word and the beginning of another, as ``表了`` of ``发表 了``. Neither can be hidden
without the other, so they are one word here: such a token goes on with what was begun. A sentence begins with it all
the same.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Literal
from unicodedata import category

import numpy as np

from danlu.text.lexicon import Lexicon
from danlu.text.sentences import sentence_starts
from danlu.text.words import Segment, Segmenter, word_starts

WORD, PHRASE, SENTENCE = 1, 2, 4
"""This token begins a word, a phrase, a sentence: bits of one byte."""
Unit = Literal["words", "phrases", "sentences"]
BITS: dict[Unit, int] = {"words": WORD, "phrases": PHRASE, "sentences": SENTENCE}

Ints = np.ndarray[Any, np.dtype[np.int64]]
Marks = np.ndarray[Any, np.dtype[np.uint8]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]
_DROPPED = ("Mn", "Mc", "Me", "Cc", "Cf")


def all_bits(units: Iterable[Unit]) -> int:
    """What a token has that begins all of ``units``."""
    return sum(BITS[unit] for unit in set(units))


@dataclass(frozen=True)
class Marker:
    """Finds the beginnings of ``units``; bits of others stay 0."""

    units: tuple[Unit, ...]
    segmenter: Segmenter
    lexicon: Lexicon | None
    """Given where phrases are among the units."""

    @cached_property
    def _segment(self) -> Segment:
        return self.segmenter.make()

    def beginnings(self, text: str) -> dict[Unit, Ints]:
        """By unit, the places in ``text`` at which one begins, in characters, rising."""
        found: dict[Unit, Ints] = {}
        outer = np.zeros(0, dtype=np.int64)
        if "sentences" in self.units:
            found["sentences"] = outer = np.array(sentence_starts(text), dtype=np.int64)
        if "phrases" in self.units or "words" in self.units:
            words = np.array(word_starts(text, self._segment), dtype=np.int64)
            if "phrases" in self.units:
                assert self.lexicon is not None
                spans = np.array([*self.lexicon.find(text)], dtype=np.int64).reshape(-1, 2)
                found["phrases"] = outer = np.union1d(outer, _phrase_starts(text, words, spans))
            if "words" in self.units:
                found["words"] = np.union1d(outer, words)
        return found

    def marks(self, text: str, ends: Ints) -> Marks:
        """``[tokens]`` the marks of the tokens of ``text``.

        Args:
            ends: ``[tokens]`` behind which character of ``text`` each token ends.
        """
        marks = np.zeros(len(ends), dtype=np.uint8)
        found, covered = self.beginnings(text), np.maximum.accumulate(ends)
        sentences = _first_tokens(found.get("sentences", np.zeros(0, dtype=np.int64)), covered)
        visible = _first_visible(text, covered)
        for unit, starts in found.items():
            begins = sentences if unit == "sentences" else sentences | np.isin(visible, starts)
            marks[begins] |= BITS[unit]
        marks[:1] = all_bits(self.units)
        return marks


def _first_tokens(starts: Ints, covered: Ints) -> Flags:
    """``[tokens]`` whether something begins in the characters that no token before has covered.

    Args:
        covered: ``[tokens]`` behind which character the tokens up to each end, rising.
    """
    begun = np.searchsorted(starts, covered, side="left")
    return np.diff(begun, prepend=0) > 0


def _first_visible(text: str, covered: Ints) -> Ints:
    """``[tokens]`` where, of what no token before covers, the first character stands that no tokenizer drops; or -1."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    solid = np.append(np.flatnonzero(_standing()[codes]), len(text))
    before = np.concatenate(([0], covered[:-1]))[: len(covered)]
    places = solid[np.searchsorted(solid, before)]
    return np.where(places < covered, places, -1)


@cache
def _standing() -> Flags:
    """By code point: no white space, accent, control or format character, which tokenizers may drop."""
    codes = (chr(code) for code in range(sys.maxunicode + 1))
    return np.array([not (char.isspace() or category(char) in _DROPPED) for char in codes])


def _phrase_starts(text: str, words: Ints, spans: Ints) -> Ints:
    """Words that no phrase holds, phrases, and what follows on a phrase that ends within a word.

    Args:
        words: where words begin.
        spans: ``[phrases, 2]`` where phrases begin and end.
    """
    begins, ends = spans.T
    phrase = np.searchsorted(begins, words, side="right") - 1  # the last one that begins here or before
    inside = (phrase >= 0) & (words < ends[phrase]) if len(spans) else np.zeros(len(words), dtype=np.bool_)
    behind = [end for end in ends.tolist() if end < len(text) and not text[end].isspace()]
    return np.union1d(words[~inside], np.union1d(begins, np.array(behind, dtype=np.int64)))

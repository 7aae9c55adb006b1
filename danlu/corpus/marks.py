"""Where words, phrases and sentences begin, in tokens: one byte of marks a token, beside the tokens of a store.

A token with a mark begins something and one without goes on with it, so that each reaches to the next token of its
mark. Beginnings are nested: that of a sentence is that of a phrase, and that of a phrase is that of a word. A word
outside every phrase is a phrase by itself, as ERNIE masks them (Sun et al. 2019, arXiv:1904.09223). The end-of-text
token before a document and the document's first token have every mark.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

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
        for unit, starts in self.beginnings(text).items():
            marks[_first_tokens(starts, ends)] |= BITS[unit]
        marks[:1] = all_bits(self.units)
        return marks


def _first_tokens(starts: Ints, ends: Ints) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """``[tokens]`` whether something begins in the characters that no token before has covered."""
    covered = np.maximum.accumulate(ends)
    begun = np.searchsorted(starts, covered, side="left")
    return np.diff(begun, prepend=0) > 0


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

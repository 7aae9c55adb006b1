"""Where words begin: runs of letters and digits, single punctuation marks, and Chinese as a segmenter cuts it.

Outside Chinese a word is what BERT's whole-word masking takes for one (Devlin et al. 2018, arXiv:1810.04805), which
parts words at white space and at every punctuation mark: ``don't`` is three words and ``state-of-the-art`` seven.
Unlike there, ``_`` and ``€`` are all alike marks, and an emoji with its modifiers is one.

Thai, Lao, Khmer, Burmese and hiragana have no spaces between words and get no dictionary here: each letter with its
vowel signs is a word, so that masking words masks letters. A run of katakana is one word, and a run of kanji is cut
as Chinese is, with a Chinese dictionary.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache
from typing import Protocol

from danlu.recipe import Choice

Segment = Callable[[str], list[str]]
"""From a run of Chinese characters to its words, which joined are the run."""

HAN = "\u2e80-\u2fdf\u3005\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Chinese characters, for a class of a regular expression: those of Unicode's script Han."""
_KATAKANA = "\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f"
_NO_SPACES = "\u3041-\u3096\u309d-\u309f\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff\uaa60-\uaa7f\ua9e0-\ua9ff"
_BEGINS_WITH_HAN = re.compile(f"[{HAN}]")


class Segmenter(Protocol):
    """A choice that cuts runs of Chinese characters, which have no spaces, into words."""

    def make(self) -> Segment:
        """The function that cuts, its dictionary loaded."""


class Jieba(Choice):
    """Words of jieba's dictionary, by the likeliest path; jieba-rs through ``rjieba``."""

    new_words: bool = True
    """Let a hidden Markov model join characters to words that the dictionary lacks, most of them names."""

    def make(self) -> Segment:
        import rjieba  # its dictionary, 60 MB, is shared by all in this process

        return lambda run: rjieba.cut(run, self.new_words)


class Characters(Choice):
    """Every Chinese character is a word, as for BERT."""

    def make(self) -> Segment:
        return list


def pieces(text: str) -> Iterator[tuple[int, int]]:
    """Where each word, mark and whole run of Chinese characters of ``text`` begins and ends; only spaces are between.

    Units are characters (code points).
    """
    return (found.span() for found in _pattern().finditer(text))


def is_chinese(text: str, place: int) -> bool:
    """Whether the character at ``place`` is Chinese."""
    return _BEGINS_WITH_HAN.match(text, place) is not None


def word_starts(text: str, segment: Segment) -> list[int]:
    """The places in ``text``, in characters, at which words begin, in order."""
    starts: list[int] = []
    for start, end in pieces(text):
        starts.append(start)
        if end > start + 1 and is_chinese(text, start):
            for word in segment(text[start:end])[:-1]:
                starts.append(starts[-1] + len(word))
    return starts


@cache
def _pattern() -> re.Pattern[str]:
    r"""Pieces of text; Python's ``\w`` lacks combining marks, which Devanagari's vowels and many accents are."""
    codes = [code for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code))[0] == "M"]
    marks = "".join(map(chr, codes))
    letter = rf"[^\W_{HAN}{_KATAKANA}{_NO_SPACES}]"
    modifiers = rf"[{marks}\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]*"
    return re.compile(
        r"[A-Za-z0-9]++(?![^\0-\x7f])|[!-/:-@\[-`{-~](?![^\0-\x7f])"  # most of English; all else follows
        rf"|[{HAN}][{HAN}{marks}]*"
        rf"|[{_KATAKANA}][{_KATAKANA}{marks}]*"
        rf"|{letter}(?:{letter}|[{marks}]|[\u200c\u200d](?={letter}))*"
        rf"|(?:[\U0001f1e6-\U0001f1ff]{{2}}|\S){modifiers}(?:\u200d[^\w\s]{modifiers})*"
    )

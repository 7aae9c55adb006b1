"""What the quality rules take for good text, by script: rules with spaces between words were made for English.

Gopher, C4 and FineWeb count words. Chinese, Japanese and Thai do not part them, and segmenting costs more than all
rules together (jieba in Rust cuts 5 MB/s). So a text's *words* here are what stands between spaces, and of scripts
without spaces their characters divided by how many a translation has for an English word: the papers' thresholds on
words, and on what comes per word, then hold for any mixture of scripts. What cannot be carried over so is in
:data:`SCRIPTS`, chosen by the script that most words of a text are in, whatever language it is said to be.

Where the numbers come from: *paper* is Rae et al. 2021 (arXiv:2112.11446), Raffel et al. 2020 or Penedo et al. 2024
(arXiv:2406.17557); *parallel* is 32,586 English and Chinese paragraphs of Python's documentation (1.56 characters a
word) and 29,155 sentences of Tatoeba (1.40; 3.2 letters a character); *prose* is good Chinese text, 928 pages of
documentation, 241 chapters of classical novels, 58 articles of Wikipedia and 2,500 texts of CLUE; *FineWeb-2* is its
settings by language (Penedo et al. 2025, arXiv:2506.20920). For Japanese, Thai and Korean no text was at hand: theirs
follow from FineWeb-2 and from the width of their characters, and are wider for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

HAN_PER_WORD = 1.5
"""Chinese characters to an English word (parallel: 1.40 to 1.56)."""
KANA_PER_WORD = 2.5
"""Kana to an English word: Japanese is written with more signs than Chinese, most of them kana (estimated)."""
THAI_PER_WORD = 5.0
"""Letters, vowel signs and tones of Thai, Lao, Khmer or Burmese to a word (FineWeb-2: Thai words have 2 to 10)."""

ScriptName = Literal["spaced", "hangul", "chinese", "japanese", "thai"]


@dataclass(frozen=True, slots=True)
class Script:
    """What differs between scripts where it is no number of words."""

    spaces: bool
    """Words are parted by spaces; else a *run*, what punctuation and spaces part, stands for the word's length."""
    length: tuple[float, float] | None
    """The mean length, in characters, of a word or a run may not be outside; None: what the rule is set to."""
    letters: float | None
    """Share of words with a letter, or without spaces of all characters but white space that are letters; None: what
    the rule is set to."""
    stop_words: tuple[str, ...]
    """Looked for wherever they stand in texts without spaces; for texts with spaces see :data:`STOP_WORDS`."""
    short_line: float
    """Characters of a short line, as a share of those in English."""
    ngram: float
    """Units of an n-gram that repeat, for each word of an English one; a unit is a character of a script without
    spaces, or a word."""


SCRIPTS: dict[ScriptName, Script] = {
    # paper
    "spaced": Script(spaces=True, length=None, letters=None, stop_words=(), short_line=1, ngram=1),
    # a syllable is a character of two or three letters, so that words are half as long (FineWeb-2: from 1 on)
    "hangul": Script(spaces=True, length=(1.5, 7), letters=None, stop_words=(), short_line=0.5, ngram=1),
    "chinese": Script(
        spaces=False,
        length=(3, 40),
        letters=0.65,
        stop_words=("的", "是", "了", "在", "不", "有", "和", "之", "也", "以", "而", "人", "這", "與", "為"),
        short_line=1 / 3,
        ngram=HAN_PER_WORD,
    ),
    "japanese": Script(
        spaces=False,
        length=(3, 60),
        letters=0.65,
        stop_words=("の", "に", "を", "は", "た", "て", "が", "と", "で"),
        short_line=0.5,
        ngram=2,
    ),
    "thai": Script(
        spaces=False,
        length=(3, 300),
        letters=0.65,
        stop_words=("ใน", "ที่", "และ", "ของ", "เป็น", "มี", "การ", "ได้"),
        short_line=1,
        ngram=THAI_PER_WORD,
    ),
}
"""By the name of the script."""

STOP_WORDS: dict[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        "en": "the be to of and that have with",  # paper; all others FineWeb-2
        "de": "der und die in von im den des mit das er dem als wurde für",
        "es": "de la en el y a que del los se por un con una las su",
        "fr": "de la le et à en l' des du les est d' un une il dans par au",
        "it": "di e il la in a del che è della un per nel l' con da i una",
        "pt": "de a e o em do da que um no uma com para na é foi",
        "ru": "в и на с по из был к не от что за для его как а он также до после",
    }.items()
}
"""By language, for scripts with spaces, in small letters; of languages that are not here no stop words are asked."""

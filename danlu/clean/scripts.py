"""What the quality rules take for good text, by script: rules with spaces between words were made for English.

Gopher, C4 and FineWeb count words. Chinese, Japanese and Thai do not part them, and segmenting costs more than all
rules together (jieba in Rust cuts 5 MB/s). So a text's *words* here are what stands between spaces, and of scripts
without spaces their characters divided by how many a translation has for an English word: the papers' thresholds on
words, and on what comes per word, then hold for any mixture of scripts. What cannot be carried over so is in
:data:`SCRIPTS`, chosen by the script that most words of a text are in, whatever language it is said to be.

Where the numbers come from: *paper* is Rae et al. 2021 (arXiv:2112.11446), Raffel et al. 2020 or Penedo et al. 2024
(arXiv:2406.17557); *parallel* is 32,586 English and Chinese paragraphs of Python's documentation (1.56 characters a
word) and 29,155 sentences of Tatoeba (1.40; 3.2 letters a character); *manual* is Debian's installation guide and FAQ,
94 pages in English, Chinese, Japanese, Korean and Russian, most of them in 14 other languages too; *prose* is good
Chinese text, 928 pages of documentation, 241 chapters of classical novels, 58 articles of Wikipedia and 2,500 texts of
CLUE; *FineWeb-2* is its pipeline and its settings by language (Penedo et al. 2025, arXiv:2506.20920). For Thai no text
was at hand: its numbers follow from FineWeb-2 and from the width of its characters, and are wider for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

HAN_PER_WORD = 1.5
"""Chinese characters to an English word (parallel: 1.40 to 1.56)."""
KANA_PER_WORD = 3.0
"""Kana to an English word, beside Chinese characters (manual: so that it has as many words in Japanese as in Chinese,
1.04 for each English one)."""
THAI_PER_WORD = 5.0
"""Letters, vowel signs and tones of Thai, Lao, Khmer or Burmese to a word (FineWeb-2: Thai words have 2 to 10)."""

DUPLICATE_LINE_CHARACTERS = 0.01
"""Share of an English text's characters that may stand in lines that stood before (paper: FineWeb, section 3.6)."""
OTHER_DUPLICATE_LINE_CHARACTERS = 0.1
"""The same of other languages (FineWeb-2's pipeline, which has one value for all but English)."""

ScriptName = Literal["spaced", "hangul", "chinese", "japanese", "thai"]


@dataclass(frozen=True, slots=True)
class Script:
    """What differs between scripts where it is no number of words."""

    spaces: bool
    """Words are parted by spaces; else a *run*, what punctuation and spaces part, stands for the word's length."""
    length: tuple[float, float] | None
    """The mean length, in characters, of a word or a run may not be outside; None: what the rule is set to."""
    words: float
    """English words that one between spaces makes."""
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
    "spaced": Script(spaces=True, length=None, words=1, letters=None, stop_words=(), short_line=1, ngram=1),
    # a syllable is a character of two or three letters, so that words are half as long (FineWeb-2: from 1 on; manual:
    # pages have 3.1 to 5.1), and particles are part of them, so that there are fewer (manual: 0.72 to 0.77)
    "hangul": Script(spaces=True, length=(1.5, 7), words=1.35, letters=None, stop_words=(), short_line=0.5, ngram=1),
    "chinese": Script(
        spaces=False,
        length=(3, 40),
        words=1,
        letters=0.65,
        stop_words=("的", "是", "了", "在", "不", "有", "和", "之", "也", "以", "而", "人", "這", "與", "為"),
        short_line=1 / 3,
        ngram=HAN_PER_WORD,
    ),
    "japanese": Script(
        spaces=False,
        length=(3, 60),
        words=1,
        letters=0.65,
        stop_words=("の", "に", "を", "は", "た", "て", "が", "と", "で"),
        short_line=0.5,
        ngram=2,
    ),
    "thai": Script(
        spaces=False,
        length=(3, 300),
        words=1,
        letters=0.65,
        stop_words=("ใน", "ที่", "และ", "ของ", "เป็น", "มี", "การ", "ได้"),
        short_line=1,
        ngram=THAI_PER_WORD,
    ),
}
"""By the name of the script."""

WORD_LENGTH = (3.0, 10.0)
"""The mean length of a word may not be outside, in scripts with spaces (paper)."""
WORD_LENGTHS: dict[str, tuple[float, float]] = {
    **{"am": (1, 24), "ar": (2, 10), "bn": (3, 24), "cs": (3, 11), "de": (3, 15), "el": (3, 11), "es": (3, 14)},
    **{"et": (3, 13), "eu": (3, 11), "fa": (2, 10), "fi": (3, 13), "fr": (2, 11), "gu": (3, 21), "hi": (2, 21)},
    **{"hu": (3, 15), "hy": (3, 11), "id": (3, 11), "is": (2, 13), "ka": (3, 13), "kk": (3, 11), "kn": (3, 67)},
    **{"lt": (3, 11), "ml": (3, 37), "mn": (3, 11), "mr": (2, 35), "nl": (3, 16), "pa": (2, 19), "pl": (3, 11)},
    **{"ru": (3, 11), "si": (2, 58), "sv": (3, 12), "ta": (3, 37), "te": (3, 68), "tr": (3, 21), "uk": (3, 11)},
    **{"ur": (3, 31), "vi": (3, 11)},
}
"""The same by language, where FineWeb-2 allows shorter or longer ones than the rule for English does:
vowel signs are characters of their own in Indic scripts, Finnish, Hungarian and Turkish add to a word what English says
by several, and German writes compounds as one."""

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

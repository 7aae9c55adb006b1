"""What tells Chinese words from slips of the hand: jieba's dictionary, how signs sound, and which ones look alike."""

from __future__ import annotations

import re
from functools import cache

from danlu.data.label_words import SHAPES

OFTEN = 50
"""How often a word has to stand in the texts of jieba's dictionary, most of whose words are far rarer."""
_CONFUSED = (
    (re.compile("^([zcs])h"), r"\1"), (re.compile("^n"), "l"), (re.compile("^h"), "f"), (re.compile("ng$"), "n"),
)  # fmt: skip
"""Sounds that many speakers do not tell apart, and methods of typing take for each other where they are asked to."""


def sound_the_same(one: str, other: str) -> bool:
    """Whether two signs have the same pinyin, whatever their tones."""
    return bool(_sounds(one) & _sounds(other))


def look_alike(one: str, other: str) -> bool:
    """Whether two signs are taken for each other by their shape."""
    return any(one in group and other in group for group in SHAPES)


def is_usual_word(word: str) -> bool:
    """Whether a word is a frequent one of jieba's dictionary."""
    import rjieba  # its dictionary, 60 MB, is shared by all in this process

    found: int = rjieba.suggest_freq(word) if rjieba.has_word(word) else 0
    return found >= OFTEN


@cache
def _sounds(sign: str) -> frozenset[str]:
    """A sign's readings in pinyin without tones, those alike that many do not tell apart; none where it has none."""
    from pypinyin import Style, pinyin  # a third of a second, which few need

    read = pinyin(sign, style=Style.NORMAL, heteronym=True, errors="ignore")
    return frozenset(_merged(each) for each in (read[0] if read else ()))


def _merged(sound: str) -> str:
    for pattern, instead in _CONFUSED:
        sound = pattern.sub(instead, sound)
    return sound

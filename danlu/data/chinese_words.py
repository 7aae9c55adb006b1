"""What tells Chinese words from slips of the hand: jieba's dictionary, and with which sound a sign begins."""

from __future__ import annotations

from bisect import bisect_right

from danlu.data.label_words import SHAPES

OFTEN = 50
"""How often a word has to stand in the texts of jieba's dictionary, most of whose words are far rarer."""
_LETTERS = "abcdefghjklmnopqrstwxyz"
_FIRST = (
    0xB0A1, 0xB0C5, 0xB2C1, 0xB4EE, 0xB6EA, 0xB7A2, 0xB8C1, 0xB9FE, 0xBBF7, 0xBFA6, 0xC0AC, 0xC2E8, 0xC4C3, 0xC5B6,
    0xC5BE, 0xC6DA, 0xC8BB, 0xC8F6, 0xCBFA, 0xCDDA, 0xCEF4, 0xD1B9, 0xD4D1,
)  # fmt: skip
"""Of each letter the first sign of GB 2312's level 1, which is in the order of pinyin."""
_BEHIND = 0xD7FA
_CONFUSED = {"n": "l", "h": "f"}
"""Sounds that many speakers do not tell apart; those of zh and z, ch and c, sh and s have one letter anyway."""


def may_sound_alike(one: str, other: str) -> bool:
    """Whether two signs may begin with the same sound, so that who types by sound may take one for the other.

    True of signs of which that is not known: only the 3,755 usual ones of GB 2312 are looked up.
    """
    sounds = {_sound(one), _sound(other)}
    return None in sounds or len(sounds) == 1


def look_alike(one: str, other: str) -> bool:
    """Whether two signs are taken for each other by their shape."""
    return any(one in group and other in group for group in SHAPES)


def is_usual_word(word: str) -> bool:
    """Whether a word is a frequent one of jieba's dictionary."""
    import rjieba  # its dictionary, 60 MB, is shared by all in this process

    found: int = rjieba.suggest_freq(word) if rjieba.has_word(word) else 0
    return found >= OFTEN


def _sound(sign: str) -> str | None:
    """The first letter of a usual sign's pinyin."""
    code = int.from_bytes(sign.encode("gb2312", errors="ignore"))
    if not _FIRST[0] <= code < _BEHIND:
        return None
    letter = _LETTERS[bisect_right(_FIRST, code) - 1]
    return _CONFUSED.get(letter, letter)

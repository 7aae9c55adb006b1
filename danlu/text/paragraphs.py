"""The paragraphs of a text, and which languages they are in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from danlu.text.language import UNKNOWN, identify

_BLANK_LINES = re.compile(r"(\n(?:[^\S\n]*\n)+)")
_LINE_ENDS = re.compile("(\n)")


def paragraphs_and_gaps(text: str) -> list[str]:
    """Paragraphs and what stands between them, in turn; joined they are ``text``.

    Blank lines part paragraphs; in a text without blank lines every line is one.
    """
    pieces = _BLANK_LINES.split(text)
    return pieces if len(pieces) > 1 else _LINE_ENDS.split(text)


def language_shares(text: str) -> dict[str, float]:
    """Of the characters in paragraphs whose language has a name, how many are in each; the largest share first."""
    characters: Counter[str] = Counter()
    for paragraph in paragraphs_and_gaps(text)[::2]:
        if (code := identify(paragraph).code) != UNKNOWN:
            characters[code] += len(paragraph)
    ordered = sorted(characters.items(), key=lambda item: (-item[1], item[0]))
    return {code: count / characters.total() for code, count in ordered}


def shares_in_words(shares: Mapping[str, float]) -> str:
    """As ``meta`` has it: ``zh 0.71, en 0.29``."""
    return ", ".join(f"{code} {share:.2f}" for code, share in shares.items())

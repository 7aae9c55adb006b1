"""Words as the text that they are of: with a space between two, but none beside signs of a script without spaces."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from danlu.data.alike import IDEOGRAPHS

_NO_SPACE = re.compile(
    rf"[{IDEOGRAPHS}"
    "\u3000-\u303f\uff00-\uffef"  # marks of Chinese and Japanese, full-width forms
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]"  # Thai and Lao, Burmese, Khmer
)


def pieces(words: Sequence[str]) -> tuple[str, ...]:
    """Each word with the space before it, where there is one; joined they are the text."""
    found = []
    before = ""
    for word in words:
        parted = before and word and not _NO_SPACE.match(before[-1]) and not _NO_SPACE.match(word[0])
        found.append(f" {word}" if parted else word)
        before = word
    return tuple(found)


def cut(text: str, places: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    """Parts of ``text`` that begin and end at ``places``, each with what stands before it; joined they are the text."""
    ends = [0, *(end for _, end in places)]
    return tuple(text[before:end] for before, end in itertools.pairwise(ends))

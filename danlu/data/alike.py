"""Texts that say the same: a key for those that differ in case, width, spaces and punctuation alone."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence

IDEOGRAPHS = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Letters of Chinese and Japanese, between which spaces mean nothing, as a class of a regular expression."""
_SPACE_BESIDE = re.compile(rf"(?<=[{IDEOGRAPHS}]) | (?=[{IDEOGRAPHS}])")


class _Letters(dict[int, int]):
    """What a text keeps: letters, digits and the marks on them; anything else is a space. Filled as it is asked."""

    def __missing__(self, code: int) -> int:
        letter = chr(code)
        self[code] = code if letter.isalnum() or unicodedata.category(letter)[0] == "M" else ord(" ")
        return self[code]


_LETTERS = _Letters()


def same_text(text: str) -> str:
    """The text in NFKC without case, punctuation and surplus spaces; of nothing but punctuation, without spaces."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    words = folded.translate(_LETTERS).split()
    return _SPACE_BESIDE.sub("", " ".join(words)) or "".join(folded.split())


def same_texts(texts: Sequence[str]) -> tuple[str, ...]:
    """The key of an example: of each of its texts."""
    return tuple(map(same_text, texts))


def order(key: str, seed: int) -> bytes:
    """Where a key stands in the order of a seed: 16 bytes that depend on nothing else."""
    return hashlib.blake2b(key.encode(), digest_size=16, key=seed.to_bytes(8, "little", signed=True)).digest()

"""Texts that say the same: a key for those that differ in case, width, script, spaces and punctuation alone.

Of Chinese both scripts are one: 後 and 后 are the same letter, and so are 裡, 裏 and 里. Emoji are words: 好的😀 and
好的😡 do not say the same, whatever the tone of the skin. ``:)`` and ``:(`` are emoji, too (``emoticons.py``).
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from danlu.data.emoticons import with_emoji

if TYPE_CHECKING:
    from opencc_pyo3 import OpenCC

IDEOGRAPHS = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Letters of Chinese and Japanese, between which spaces mean nothing, as a class of a regular expression."""
_SPACE_BESIDE = re.compile(rf"(?<=[{IDEOGRAPHS}]) | (?=[{IDEOGRAPHS}])")
_IDEOGRAPH = re.compile(f"[{IDEOGRAPHS}]")
_EMOJI = (
    range(0x231A, 0x231C), range(0x23E9, 0x23FB), range(0x2600, 0x27C0), range(0x2B1B, 0x2B1D), range(0x2B50, 0x2B56),
    range(0x1F000, 0x1FB00),
)  # fmt: skip
"""Blocks of them, and those that stand among arrows and technical signs: watches, squares, the star of ratings."""
_VARIANTS = (range(0xFE00, 0xFE10), range(0x1F3FB, 0x1F400), range(0xE0100, 0xE01F0))
"""What says how the sign before is drawn: as text or picture, the tone of a skin, and which form of an ideograph."""


class _Letters(dict[int, str]):
    """What a text keeps: letters, digits and the marks on them, and emoji, each a word; but nothing of signs that
    cannot be seen; anything else is a space. Filled as it is asked."""

    def __missing__(self, code: int) -> str:
        letter = chr(code)
        kind = unicodedata.category(letter)
        if any(code in block for block in _VARIANTS):
            self[code] = ""
        elif letter.isalnum() or kind[0] == "M":
            self[code] = simplified(letter)
        elif kind == "So" and any(code in block for block in _EMOJI):
            self[code] = f" {letter} "
        else:
            self[code] = "" if kind == "Cf" else " "
        return self[code]


_LETTERS = _Letters()


def simplified(text: str) -> str:
    """Chinese letters in the simplified script, each for itself, all else as it is; letters that are written alike
    there become one, as 乾 and 干 do, so that this is to compare texts and not to read them."""
    return _IDEOGRAPH.sub(lambda letter: _simplified(letter[0]), text)


@cache
def _simplified(letter: str) -> str:
    of_hong_kong, traditional = _converters()
    return traditional.convert(of_hong_kong.convert(letter))


@cache
def _converters() -> tuple[OpenCC, OpenCC]:
    from opencc_pyo3 import OpenCC  # its tables, 30 MB, are for Chinese alone

    return OpenCC("hk2s"), OpenCC("t2s")


def same_text(text: str) -> str:
    """The text in NFKC without case, script, punctuation and surplus spaces; of nothing but punctuation, without
    spaces."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    words = with_emoji(folded).translate(_LETTERS).split()
    return _SPACE_BESIDE.sub("", " ".join(words)) or "".join(folded.split())


def same_texts(texts: Sequence[str]) -> tuple[str, ...]:
    """The key of an example: of each of its texts."""
    return tuple(map(same_text, texts))


def order(key: str, seed: int) -> bytes:
    """Where a key stands in the order of a seed: 16 bytes that depend on nothing else."""
    return hashlib.blake2b(key.encode(), digest_size=16, key=seed.to_bytes(8, "little", signed=True)).digest()

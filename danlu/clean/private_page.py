"""What finders of private data read: a text in plain digits and letters, its numbers, and the words before a place."""

from __future__ import annotations

import re
import string
import sys
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_NUMBER = re.compile(
    r"[0-9](?:(?:[-. ()/]{0,3}+[0-9]){5,}+"
    r"|[0-9][A-Z][0-9]{2}[A-Z][0-9]{3}[A-Z])"  # the inner half of a codice fiscale, which letters part
)
ALONE = r"(?<![0-9A-Za-z_])(?<![0-9][.,])(?<![$€£¥])"
"""What begins here is no part of a longer word or number, and no amount of money."""
ENDS = r"(?![0-9A-Za-z_]|[.,][0-9])"
"""What ends here is no part of a longer word or number."""


class Found(NamedTuple):
    """Private data of one kind: the characters ``[start, end)`` of a text."""

    start: int
    end: int
    kind: str


_TOKEN_SIGNS = np.zeros(129, bool)
_TOKEN_SIGNS[[ord(sign) for sign in string.ascii_letters + string.digits + "_-.+/=:~@!#$%^&*"]] = True
"""What keys and tokens are written with; the last place is for all that is not ASCII."""
SHORTEST_TOKEN = 16
"""Signs of a key that is found by its issuer's beginning, at least."""


@dataclass(frozen=True)
class Page:
    """A text as finders read it; every character stands where it stands in the text."""

    text: str
    language: str = "und"
    raw: str = ""
    """The text as it is, where escapes are looked at."""

    @cached_property
    def numbers(self) -> list[tuple[int, int]]:
        """Where runs of six digits or more are, also with separators between them."""
        return [found.span() for found in _NUMBER.finditer(self.text)]

    @cached_property
    def codes(self) -> NDArray[np.uint8] | NDArray[np.uint32]:
        """Of each character its code point."""
        if self.text.isascii():
            return np.frombuffer(self.text.encode("ascii"), np.uint8)
        return np.frombuffer(self.text.encode("utf-32-le", "surrogatepass"), np.uint32)

    @cached_property
    def long_runs(self) -> list[tuple[int, int]]:
        """Where all that could be keys is: runs of 16 signs or more of letters, digits and some marks."""
        signs = _TOKEN_SIGNS[np.minimum(self.codes, 128)]
        edges = np.flatnonzero(np.diff(signs, prepend=False, append=False))
        long = edges[1::2] - edges[::2] >= SHORTEST_TOKEN
        return list(zip(edges[::2][long].tolist(), edges[1::2][long].tolist(), strict=True))

    @cached_property
    def lower(self) -> str:
        """The text in small letters, where that moves none of them; else the text as it is."""
        lower = self.text.lower()
        return lower if len(lower) == len(self.text) else self.text

    def near_numbers(
        self,
        pattern: re.Pattern[str],
        *,
        before: int = 3,
        after: int = 3,
        among: list[tuple[int, int]] | None = None,
    ) -> Iterator[re.Match[str]]:
        """Matches of ``pattern`` in each run of digits, or each of ``among``, and a few characters around it; none
        overlap."""
        place = 0
        for start, end in self.numbers if among is None else among:
            for found in pattern.finditer(self.text, max(place, start - before), end + after):
                place = found.end()
                yield found

    def said_before(self, words: re.Pattern[str], place: int, *, reach: int = 40) -> bool:
        """Whether ``words`` match among the ``reach`` characters before ``place``."""
        return words.search(self.text, max(0, place - reach), place) is not None


FindIn = Callable[[Page], Iterator[Found]]
"""Finds private data of the kinds that it knows."""


def page_of(text: str, *, language: str = "und") -> Page:
    """``text`` with the digits of every script, full-width and styled letters and marks, and the spaces and hyphens of
    typographers, made ASCII.

    Escapes of JSON, URLs and HTML that stand for a space or a mark (``\\n``, ``%2B``, ``&nbsp;``) are that, behind
    spaces, so that nothing moves: ``%2B86`` is no word of letters and digits.
    """
    plain = text if text.isascii() else _plain(text)
    for sign, escape in _ESCAPES.items():
        if sign in plain:
            plain = escape.sub(lambda found: _ESCAPED.get(found[0].lower(), " ").rjust(len(found[0])), plain)
    return Page(plain, language, text)


_ESCAPED = {"%2b": "+", "%3a": ":", "%22": '"', "&quot;": '"', "&#34;": '"', "&#39;": "'", '\\"': '"', "&#43;": "+"}
_ESCAPES = {
    "\\": re.compile(r'\\[nrt"]'),
    "%": re.compile(r"%(?:2[0B2b]|3[Aa]|0[ADad])"),
    "&": re.compile(r"&(?:nbsp|quot|#160|#34|#39|#43|lt|gt|#x[aA]0);"),
}
"""What stands for white space or a mark, by the sign that it begins with."""


def _plain(text: str) -> str:
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    return _plain_codes()[codes].tobytes().decode("utf-32-le", "surrogatepass")


@cache
def _plain_codes() -> NDArray[np.uint32]:
    """For every code point the one that it counts as.

    Raised and circled digits stay: they are marks of notes and of lists, beside numbers that they are no part of.
    """
    plain = np.arange(sys.maxunicode + 1, dtype=np.uint32)
    for code in range(0x80, 0x20000):  # behind it are no digits, and letters that are one word
        sign = chr(code)
        value = unicodedata.decimal(sign, None)
        if value is not None:
            plain[code] = ord("0") + value
        elif unicodedata.decomposition(sign).startswith(("<font>", "<wide>", "<small>")):
            same = unicodedata.normalize("NFKC", sign)
            plain[code] = ord(same) if len(same) == 1 and same.isascii() else code
    plain[[0xA0, 0x202F, 0x3000, *range(0x2000, 0x200B)]] = ord(" ")
    plain[[*range(0x2010, 0x2016), 0x2212]] = ord("-")
    return plain


def digits_of(text: str) -> str:
    """The digits of ``text``, nothing else."""
    return "".join(filter(str.isdecimal, text))


def words(*alternatives: str) -> re.Pattern[str]:
    """Any of these, whatever their case, where a word begins; between Chinese characters anywhere."""
    return re.compile(rf"(?<![A-Za-z])(?:{'|'.join(alternatives)})", re.IGNORECASE)


SERIAL = re.compile(
    r"(?:order|invoice|tracking|part|serial|sku|isbn|issn|doi|model|item|batch|lot|ticket|version|build|commit|patent"
    r"|订单|单号|编号|型号|批号|序列|发票|流水|货号|版本|书号|专利|快递|运单)[^0-9\n]{0,16}\Z",
    re.IGNORECASE,
)
"""What stands before numbers that name things, not people."""

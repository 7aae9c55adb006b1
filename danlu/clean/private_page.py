"""What finders of private data read: a text in plain digits and letters, its numbers, and the words before a place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

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


@dataclass(frozen=True)
class Page:
    """A text as finders read it; every character stands where it stands in the text."""

    text: str
    language: str = "und"

    @cached_property
    def numbers(self) -> list[tuple[int, int]]:
        """Where runs of six digits or more are, also with separators between them."""
        return [found.span() for found in _NUMBER.finditer(self.text)]

    @cached_property
    def lower(self) -> str:
        """The text in small letters, where that moves none of them; else the text as it is."""
        lower = self.text.lower()
        return lower if len(lower) == len(self.text) else self.text

    def near_numbers(self, pattern: re.Pattern[str], *, before: int = 3, after: int = 3) -> Iterator[re.Match[str]]:
        """Matches of ``pattern`` in each run of digits and a few characters around it; none overlap."""
        place = 0
        for start, end in self.numbers:
            for found in pattern.finditer(self.text, max(place, start - before), end + after):
                place = found.end()
                yield found

    def said_before(self, words: re.Pattern[str], place: int, *, reach: int = 40) -> bool:
        """Whether ``words`` match among the ``reach`` characters before ``place``."""
        return words.search(self.text, max(0, place - reach), place) is not None


FindIn = Callable[[Page], Iterator[Found]]
"""Finds private data of the kinds that it knows."""


def page_of(text: str, *, language: str = "und") -> Page:
    """``text`` with full-width letters, digits and marks, and the spaces and hyphens of typographers, made ASCII."""
    return Page(text if text.isascii() else _plain(text), language)


def _plain(text: str) -> str:
    codes = np.frombuffer(bytearray(text.encode("utf-32-le", "surrogatepass")), np.uint32)
    wide = (codes >= 0xFF01) & (codes <= 0xFF5E)
    codes[wide] -= 0xFEE0
    codes[(codes == 0x3000) | (codes == 0xA0) | (codes == 0x202F) | ((codes >= 0x2000) & (codes <= 0x200A))] = 0x20
    codes[((codes >= 0x2010) & (codes <= 0x2013)) | (codes == 0x2212)] = 0x2D
    return codes.tobytes().decode("utf-32-le", "surrogatepass")


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

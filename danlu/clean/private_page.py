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

from danlu.clean.private_escapes import Places, unescaped

_NUMBER = re.compile(
    r"[0-9](?:(?:[-. ()/_~·]{0,3}+[0-9]){5,}+"
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


_TOKEN, DIGIT, OPENING, AT = 1, 2, 4, 8
_SIGNS = bytes(
    _TOKEN * (chr(code) in string.ascii_letters + string.digits + "_-.+/=:~@!#$%^&*")
    | DIGIT * (chr(code) in string.digits)
    | OPENING * (chr(code) in "([{<")
    | AT * (chr(code) in "@aA ")
    for code in range(256)
)
"""What keys and tokens are written with, and other marks, as bits; what is not ASCII has none."""
SHORTEST_TOKEN, SHORTEST_PASSWORD = 16, 8
"""Signs of a key that is found by its issuer's beginning, and of a password, at least."""


@dataclass(frozen=True)
class Page:
    """A text as finders read it."""

    text: str
    language: str = "und"
    raw: str = ""
    """The text with letters and marks as they are, where escapes are looked at."""
    places: tuple[Places, Places] | None = None
    """Where each character begins and ends in the text that the page was made of; None where nothing moved."""

    def in_text(self, found: Found) -> Found:
        """``found`` in the text that the page was made of."""
        if self.places is None:
            return found
        starts, ends = self.places
        return Found(int(starts[found.start]), int(ends[found.end - 1]), found.kind)

    @cached_property
    def numbers(self) -> list[tuple[int, int]]:
        """Where runs of six digits or more are, also with separators between them."""
        return [found.span() for found in _NUMBER.finditer(self.text)]

    @cached_property
    def line_ends(self) -> list[int]:
        """Those right beside one of these runs, in order."""
        text, found = self.text, set()
        for start, end in self.numbers:
            before, behind = text[max(0, start - 10) : start], text[end : end + 3]
            if "\n" in before and not before.rpartition("\n")[2].strip(" ("):
                found.add(start - len(before) + before.rindex("\n"))
            if "\n" in behind and not behind.partition("\n")[0].strip("-. )"):
                found.add(end + behind.index("\n"))
        return sorted(found)

    @cached_property
    def codes(self) -> NDArray[np.uint8] | NDArray[np.uint32]:
        """Of each character its code point."""
        if self.text.isascii():
            return np.frombuffer(self.text.encode("ascii"), np.uint8)
        return _codes_of(self.text)

    @cached_property
    def signs(self) -> NDArray[np.uint8]:
        """Of each character its bits (``OPENING``, ``AT`` …)."""
        if self.text.isascii():
            signs = self.text.encode("ascii")
        else:
            signs = np.minimum(self.codes, 128).astype(np.uint8).tobytes()
        return np.frombuffer(signs.translate(_SIGNS), np.uint8)

    @cached_property
    def _tokens(self) -> bytes:
        """Of each character 1 where keys are written with it, else 0."""
        return (self.signs & _TOKEN).tobytes()

    def has_run(self, length: int) -> bool:
        """Whether so many signs that keys are written with stand in a row."""
        return b"\1" * length in self._tokens

    @cached_property
    def _runs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where runs of 8 such signs or more begin and end."""
        if not self.has_run(SHORTEST_PASSWORD):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        tokens = np.frombuffer(b"\0%b\0" % self._tokens, np.uint8)
        edges = np.flatnonzero(tokens[1:] != tokens[:-1])
        long = edges[1::2] - edges[::2] >= SHORTEST_PASSWORD
        return edges[::2][long], edges[1::2][long]

    @cached_property
    def long_runs(self) -> list[tuple[int, int]]:
        """Where all that could be keys is: runs of 16 signs or more."""
        starts, ends = self._runs
        if not len(starts):
            return []
        long = ends - starts >= SHORTEST_TOKEN
        return list(zip(starts[long].tolist(), ends[long].tolist(), strict=True))

    @cached_property
    def with_digits(self) -> list[tuple[int, int]]:
        """Where all that could be passwords is: runs of 8 signs or more with a digit."""
        starts, ends = self._runs
        if not len(starts):
            return []
        digits = np.flatnonzero(self.signs & DIGIT)
        some = np.searchsorted(digits, ends) > np.searchsorted(digits, starts)
        return list(zip(starts[some].tolist(), ends[some].tolist(), strict=True))

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
    typographers, made ASCII; without what cannot be seen; with characters that are spelt out (``&#49;``) as such.

    Escapes of JSON, URLs and HTML that stand for a space or a mark (``\\n``, ``%2B``, ``&nbsp;``) are that, behind
    spaces: ``%2B86`` is no word of letters and digits. Seven numerals or more in a row are digits (``一三八…``,
    ``①③⑧…``); fewer are words, or marks of notes and of lists, beside numbers that they are no part of.
    """
    raw, places = unescaped(text)
    plain = raw
    if not raw.isascii():
        plain, seen = _plain(raw)
        if seen is not None:
            starts, ends = seen
            raw = _text_of(_codes_of(raw)[starts])
            places = (starts, ends) if places is None else (places[0][starts], places[1][ends - 1])
    for sign, escape in _ESCAPES.items():
        if sign in plain:
            plain = escape.sub(lambda found: _ESCAPED.get(found[0].lower(), " ").rjust(len(found[0])), plain)
    return Page(plain, language, raw, places)


_ESCAPED = {"%2b": "+", "%3a": ":", "%22": '"', "&quot;": '"', '\\"': '"'}
_ESCAPES = {
    "\\": re.compile(r'\\[nrt"]'),
    "%": re.compile(r"%(?:2[0B2b]|3[Aa]|0[ADad])"),
    "&": re.compile(r"&(?:nbsp|quot|lt|gt);"),
}
"""What stands for white space or a mark, by the sign that it begins with."""
_UNSEEN = (
    *(0xAD, 0x34F, 0x61C, 0x180E, 0xFEFF, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070)),
    *range(0xE0000, 0xE0080),
)
"""Soft hyphens, zero-width characters, marks of direction and tags."""
_ON_A_SIGN = (*range(0xFE00, 0xFE10), *range(0x335, 0x339), *range(0x20D0, 0x20F1))
"""Selectors of forms, and what strikes the sign before it through or encloses it, as keys of telephones (``1️⃣``)."""
_GONE, _WITH_IT = np.uint32(0xFFFFFFFF), np.uint32(0xFFFFFFFE)
"""What counts as nothing, and as part of the character before it."""
_NUMERALS = (
    *("〇一二三四五六七八九", "○", "零壹贰叁肆伍陆柒捌玖", "零壹貳參肆伍陸柒捌玖", " 幺弍弎"),
    *("⓪①②③④⑤⑥⑦⑧⑨", " ➀➁➂➃➄➅➆➇➈", "⓿❶❷❸❹❺❻❼❽❾", " ➊➋➌➍➎➏➐➑➒", " ⓵⓶⓷⓸⓹⓺⓻⓼⓽"),
    *(" ⑴⑵⑶⑷⑸⑹⑺⑻⑼", " ⒈⒉⒊⒋⒌⒍⒎⒏⒐", " ㈠㈡㈢㈣㈤㈥㈦㈧㈨", " ㊀㊁㊂㊃㊄㊅㊆㊇㊈", "⁰¹²³⁴⁵⁶⁷⁸⁹", "₀₁₂₃₄₅₆₇₈₉"),
)
"""From zero on, and ways to write them; a space where there is none."""
_NUMERAL = 24
"""A code from this bit on has its value and one more, beside the character's own code."""
_ENOUGH = b"\1" * 7
"""Numerals in a row, as bytes."""


def _codes_of(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _text_of(codes: NDArray[np.uint32]) -> str:
    return codes.tobytes().decode("utf-32-le", "surrogatepass")


def _plain(text: str) -> tuple[str, tuple[Places, Places] | None]:
    """``text`` in plain characters, and where each begins and ends, if some are gone."""
    codes = _plain_codes()[_codes_of(text)]
    most, places = codes.max(), None
    if most >= _WITH_IT:
        starts = np.flatnonzero(codes < _WITH_IT)
        ends = starts + 1
        parts = np.flatnonzero(codes == _WITH_IT)
        before = np.searchsorted(starts, parts) - 1
        ends[before[before >= 0]] = parts[before >= 0] + 1  # of several the last
        places, codes = (starts, ends), codes[starts]
        most = codes.max(initial=0)
    if most >> _NUMERAL:
        _spell(codes)
    return _text_of(codes), places


def _spell(codes: NDArray[np.uint32]) -> None:
    """In place: numerals as digits where enough stand in a row and no digit beside them, else as they are."""
    numerals = (codes >= 1 << _NUMERAL).tobytes()
    start = numerals.find(_ENOUGH)
    while start >= 0:
        end = numerals.find(b"\0", start)
        end = len(numerals) if end < 0 else end
        beside = {int(codes[place]) for place in (start - 1, end) if 0 <= place < len(codes)}
        if not beside.intersection(range(ord("0"), ord("9") + 1)):
            codes[start:end] = (codes[start:end] >> _NUMERAL) - 1 + ord("0")
        start = numerals.find(_ENOUGH, end)
    codes &= (1 << _NUMERAL) - 1


@cache
def _plain_codes() -> NDArray[np.uint32]:
    """For every code point the one that it counts as; more than code points have for numerals, and what goes."""
    plain = np.arange(sys.maxunicode + 1, dtype=np.uint32)
    for code in range(0x80, 0x20000):  # behind it are no digits, and letters that are one word
        sign = chr(code)
        value = unicodedata.decimal(sign, None)
        if value is not None:
            plain[code] = ord("0") + value
        elif unicodedata.decomposition(sign).startswith(("<font>", "<wide>", "<small>")):
            same = unicodedata.normalize("NFKC", sign)
            plain[code] = ord(same) if len(same) == 1 and same.isascii() else code
    for first, sign in zip("fffffss", "ﬀﬁﬂﬃﬄﬅﬆ", strict=True):  # of the letters that printers join
        plain[ord(sign)] = ord(first)
    plain[[0xA0, 0x202F, 0x3000, *range(0x2000, 0x200B)]] = ord(" ")
    plain[[*range(0x2010, 0x2016), 0x2212]] = ord("-")
    for value, sign in ((value, sign) for row in _NUMERALS for value, sign in enumerate(row) if sign != " "):
        plain[ord(sign)] = ord(sign) | (value + 1) << _NUMERAL
    plain[list(_UNSEEN)] = _GONE
    plain[list(_ON_A_SIGN)] = _WITH_IT
    return plain


def digits_of(text: str) -> str:
    """The digits of ``text``, nothing else."""
    return "".join(filter(str.isdecimal, text))


def words(*alternatives: str) -> re.Pattern[str]:
    """Any of these, whatever their case, where a word begins; between Chinese characters anywhere."""
    return re.compile(rf"(?<![A-Za-z])(?:{'|'.join(alternatives)})", re.IGNORECASE)


SERIAL = re.compile(
    r"(?:order|invoice|tracking|part|serial|sku|isbn|issn|doi|model|item|batch|lot|ticket|version|build|commit|patent)"
    r"[^0-9\n]{0,16}\Z"
    r"|(?:订单|单号|编号|型号|批号|序列|发票|流水|货号|版本|书号|专利|快递|运单)[^0-9\n]{0,8}\Z",
    re.IGNORECASE,
)
"""What stands before numbers that name things, not people."""

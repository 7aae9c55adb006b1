"""Hashes of windows over normalised words and characters: what long n-grams two texts share, at the speed of numpy.

A unit is a word (a run of letters and digits) or, in scripts without spaces, a character; case, width, marks and spaces
do not count. A window begins at a unit and reaches as far as the length asks: so many words, or so many characters of
Chinese, or a mixture in proportion.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from danlu.text.words import HAN

Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]

SLICE = 1 << 16
"""Characters that are looked at together; the arrays for them fit into a processor's cache."""
_BASE = np.uint64(0x9E3779B97F4A7C15)
_INVERSE = np.uint64(pow(0x9E3779B97F4A7C15, -1, 1 << 64))
_SEPARATOR, _WORD, _CHARACTER = 0, 1, 2
_NO_SPACES = re.compile(f"[{HAN}\u3041-\u30ff\u31f0-\u31ff\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff]")


class Units(NamedTuple):
    """Units of a text: a hash of each, where it begins and ends in characters, and whether it is a single character."""

    hashes: Hashes
    starts: Places
    ends: Places
    single: npt.NDArray[np.bool_]

    def part(self, first: int, behind: int) -> Units:
        """The units from number ``first`` to the one before ``behind``."""
        chosen = slice(first, behind)
        return Units(self.hashes[chosen], self.starts[chosen], self.ends[chosen], self.single[chosen])


class Length(NamedTuple):
    """How long a window is: so many words, or so many characters in scripts without spaces."""

    words: int
    characters: int

    @property
    def most_units(self) -> int:
        """The most units that a window of this length has."""
        return max(self.words, self.characters)

    def weights(self, single: npt.NDArray[np.bool_]) -> Places:
        """What each unit adds; a window is full at ``words * characters``."""
        return np.where(single, self.words, self.characters).astype(np.int64)


def units_of(text: str) -> Iterator[Units]:
    """The units of ``text``, a slice of it at a time; places are those in the whole text.

    A slice ends before a unit, unless a single word is longer than a slice.
    """
    start = 0
    while start < len(text):
        end = min(len(text), start + SLICE)
        codes = _codes(text[start:end])
        classes = _tables()[1][codes]
        if end < len(text) and classes[-1] == _WORD:  # the word may go on
            others = np.flatnonzero(classes != _WORD)
            if len(others):
                end = start + int(others[-1]) + 1
                codes, classes = codes[: end - start], classes[: end - start]
        yield _units(codes, classes, start)
        start = end


def window_ends(units: Units, length: Length) -> Places:
    """For the units that a whole window begins at, from the first on: the number of the unit behind its last one."""
    total = np.concatenate([[0], np.cumsum(length.weights(units.single))])
    ends = np.searchsorted(total, total[:-1] + length.words * length.characters)
    return ends[: np.searchsorted(ends, len(total))].astype(np.int64)


def window_hashes(units: Units, ends: Places) -> Hashes:
    """The hash of each window of units from ``k`` to ``ends[k]``."""
    count = len(units.hashes)
    powers, inverses = _powers(count + 1)
    sums = np.zeros(count + 1, np.uint64)
    np.cumsum(units.hashes * powers[:count], out=sums[1:])
    return _mix((sums[ends] - sums[: len(ends)]) * inverses[: len(ends)])


def joined(first: Units, second: Units) -> Units:
    """The units of two slices."""
    return Units(
        np.concatenate([first.hashes, second.hashes]),
        np.concatenate([first.starts, second.starts]),
        np.concatenate([first.ends, second.ends]),
        np.concatenate([first.single, second.single]),
    )


def tail(units: Units, count: int) -> Units:
    """The last units, ``count`` of them at most."""
    return units.part(max(0, len(units.hashes) - count), len(units.hashes))


def _codes(text: str) -> npt.NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _units(codes: npt.NDArray[np.uint32], classes: npt.NDArray[np.uint8], offset: int) -> Units:
    before = np.concatenate([[_SEPARATOR], classes[:-1]]).astype(np.uint8)
    begins = (classes == _CHARACTER) | ((classes == _WORD) & (before != _WORD))
    starts = np.flatnonzero(begins)
    if len(starts) == 0:
        return Units(np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.bool_))
    single = classes[starts] == _CHARACTER
    closes = np.flatnonzero((classes == _WORD) & (np.concatenate([classes[1:], [_SEPARATOR]]) != _WORD))
    ends = starts + 1
    ends[~single] = closes + 1
    folded = _tables()[0][codes].astype(np.uint64)  # 0 for separators, which add nothing
    powers, inverses = _powers(len(codes) + 1)
    summed = np.add.reduceat(folded * powers[: len(codes)], starts)
    return Units(_mix(summed * inverses[starts]), starts + offset, ends + offset, single)


def _mix(values: Hashes) -> Hashes:
    """The end of splitmix64 (Steele et al. 2014): every bit in depends on every bit out."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


_kept_powers: list[tuple[Hashes, Hashes]] = []


def _powers(count: int) -> tuple[Hashes, Hashes]:
    """The first powers of an odd number modulo 2**64, and of its inverse."""
    if not _kept_powers or len(_kept_powers[0][0]) < count:
        size = max(count, 2 * SLICE)
        both = []
        for base in (_BASE, _INVERSE):
            powers = np.full(size, base, np.uint64)
            powers[0] = 1
            both.append(np.multiply.accumulate(powers))
        _kept_powers[:] = [(both[0], both[1])]
    return _kept_powers[0]


@cache
def _tables() -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint8]]:
    """By code point: the character that counts for it, and its class; 5 MB."""
    codes = np.arange(sys.maxunicode + 1, dtype=np.uint32)
    folded = np.zeros(len(codes), np.uint32)
    classes = np.zeros(len(codes), np.uint8)
    same = [(0x3400, 0x4DC0, _CHARACTER), (0x4E00, 0xA000, _CHARACTER), (0xAC00, 0xD7A4, _WORD)]
    same += [(0x20000, 0x2A6E0, _CHARACTER), (0x2A700, 0x2EE5E, _CHARACTER), (0x30000, 0x323B0, _CHARACTER)]
    for first, end, kind in same:  # half of all letters, which nothing folds
        folded[first:end], classes[first:end] = codes[first:end], kind
    for code in (*range(0xD800), *range(0xE000, 0x2FA20)):  # what follows holds no other letters
        sign = chr(code)
        if classes[code] or not (sign.isalnum() or unicodedata.category(sign)[0] == "M"):
            continue
        plain = unicodedata.normalize("NFKC", sign).casefold()
        folded[code] = ord(plain[0] if len(plain) == 1 else sign)
        classes[code] = _CHARACTER if _NO_SPACES.match(plain) else _WORD
    return folded, classes

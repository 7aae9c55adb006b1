"""What several quality rules ask of one text, worked out once: its lines, its words, its script.

Everything that looks at each character is done by numpy: a code point has a *kind*, bits of a table.
N is the number of characters, R that of runs between spaces.
"""

from __future__ import annotations

import hashlib
import re
import sys
from functools import cache, cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from danlu.clean.scripts import HAN_PER_WORD, KANA_PER_WORD, SCRIPTS, THAI_PER_WORD, Script, ScriptName
from danlu.text.words import HAN

SPACE, LETTER, DIGIT, IN_HAN, IN_KANA, IN_THAI, IN_HANGUL = (1 << bit for bit in range(7))
UNSPACED = IN_HAN | IN_KANA | IN_THAI
"""Of scripts without spaces between words."""

KANA_CLASS = "\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f"
THAI_CLASS = "\u0e01-\u0e3a\u0e40-\u0e5b\u0e81-\u0eff\u1000-\u109f\u1780-\u17ff\uaa60-\uaa7f\ua9e0-\ua9ff"
"""Thai, Lao, Burmese, Khmer."""
UNSPACED_CLASS = f"{HAN}{KANA_CLASS}{THAI_CLASS}"
"""All of them, for a class of a regular expression."""
_HANGUL = "\u1100-\u11ff\u3131-\u318e\ua960-\ua97c\uac00-\ud7fb"
MOSTLY_KANA = 0.1
"""From this share of kana on, text in Chinese characters is Japanese (its prose has more than half)."""
AT_ONCE = 2**15
"""Units that are numbered at once, which bounds the memory and changes no number."""
LONGEST = 2**20
"""Characters in which they stand, at most."""


@cache
def _table() -> NDArray[np.uint8]:
    """The kind of every code point."""
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    kinds = np.zeros(len(everything), dtype=np.uint8)
    for bit, class_ in (
        (SPACE, r"\s"),
        (LETTER, rf"[^\W\d_]|[{THAI_CLASS}]"),
        (DIGIT, r"\d"),
        (IN_HAN, f"[{HAN}]"),
        (IN_KANA, f"[{KANA_CLASS}]"),
        (IN_THAI, f"[{THAI_CLASS}]"),
        (IN_HANGUL, f"[{_HANGUL}]"),
    ):
        for found in re.finditer(f"(?:{class_})+", everything):
            kinds[found.start() : found.end()] |= bit
    return kinds


@cache
def _ascii_table() -> bytes:
    """The same of every byte, of which those of ASCII count; far faster."""
    return _table()[:256].tobytes()


@lru_cache(maxsize=1)
def figures_of(text: str) -> Figures:
    """The figures of ``text``; those of the text that was asked for last are kept, for the next rule."""
    return Figures(text)


class Figures:
    """What the rules ask, worked out when it is asked for."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def lines(self) -> list[str]:
        """The lines that are not blank, as they stand."""
        return [line for line in self.text.split("\n") if line and not line.isspace()]

    @cached_property
    def codes(self) -> NDArray[Any]:
        """The code point of each character."""
        if self.text.isascii():
            return np.frombuffer(self.text.encode(), dtype=np.uint8)
        return np.frombuffer(self.text.encode("utf-32-le", "surrogatepass"), dtype="<u4")

    @cached_property
    def kinds(self) -> NDArray[np.uint8]:
        """The kind of each character."""
        if self.text.isascii():
            return np.frombuffer(self.text.encode().translate(_ascii_table()), np.uint8)
        kinds: NDArray[np.uint8] = _table()[self.codes]
        return kinds

    @cached_property
    def _counts(self) -> tuple[int, int, int, int]:
        """How many characters are Chinese, kana, Thai and their like, Hangul."""
        if self.text.isascii() or not (self.kinds & (UNSPACED | IN_HANGUL)).any():
            return 0, 0, 0, 0
        han, kana, thai, hangul = (
            int(np.count_nonzero(self.kinds & bit)) for bit in (IN_HAN, IN_KANA, IN_THAI, IN_HANGUL)
        )
        return han, kana, thai, hangul

    @cached_property
    def _runs(self) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
        """Of what stands between spaces and characters of scripts without them: the length ``[R]``, whether it is a
        word, which has a letter or a digit ``[R]``, and whether it has a letter ``[R]``."""
        bounds = self._run_bounds
        if not len(bounds):
            return np.zeros(0, np.int64), np.zeros(0, np.bool_), np.zeros(0, np.bool_)
        kinds = np.append(self.kinds, np.uint8(0))  # reduceat wants every bound to be a place
        held_R = np.bitwise_or.reduceat(kinds, bounds)[::2]
        return bounds[1::2] - bounds[::2], (held_R & (LETTER | DIGIT)) > 0, (held_R & LETTER) > 0

    @cached_property
    def _run_bounds(self) -> NDArray[np.int64]:
        """Where each run begins and where it ends, in turn: ``[2R]``."""
        inside = np.zeros(len(self.text) + 2, dtype=np.bool_)
        inside[1:-1] = (self.kinds & (SPACE | UNSPACED)) == 0
        return np.flatnonzero(inside[1:] != inside[:-1])

    @cached_property
    def spaced_words(self) -> int:
        """Words that stand between spaces."""
        return int(np.count_nonzero(self._runs[1]))

    @cached_property
    def _unspaced_words(self) -> float:
        """Words of scripts without spaces, by the characters that they take in a translation."""
        han, kana, thai, _ = self._counts
        return han / HAN_PER_WORD + kana / KANA_PER_WORD + thai / THAI_PER_WORD

    @property
    def words(self) -> float:
        """English words that those with a letter or a digit make."""
        return self.spaced_words * self.script.words + self._unspaced_words

    @property
    def tokens(self) -> float:
        """Words and whatever else stands between spaces; in scripts without spaces words."""
        return len(self._runs[0]) * self.script.words + self._unspaced_words if self.script.spaces else self.words

    @cached_property
    def script_name(self) -> ScriptName:
        """The script that most words are in."""
        han, kana, thai, hangul = self._counts
        chinese_or_japanese = han / HAN_PER_WORD + kana / KANA_PER_WORD
        if self.spaced_words >= chinese_or_japanese + thai / THAI_PER_WORD:
            letters = np.count_nonzero(self.kinds & LETTER) if hangul else 0
            return "hangul" if 2 * hangul > letters else "spaced"
        if thai / THAI_PER_WORD > chinese_or_japanese:
            return "thai"
        return "japanese" if kana >= MOSTLY_KANA * (han + kana) else "chinese"

    @property
    def script(self) -> Script:
        """What differs by script."""
        return SCRIPTS[self.script_name]

    @cached_property
    def mean_length(self) -> float:
        """Characters of a mean word; in scripts without spaces of a run of letters and digits."""
        if self.script.spaces:
            lengths_R, is_word_R, _ = self._runs
            return float(lengths_R[is_word_R].mean()) if is_word_R.any() else 0.0
        in_run = np.zeros(len(self.text) + 1, dtype=np.int8)
        in_run[1:] = (self.kinds & (LETTER | DIGIT | UNSPACED)) > 0
        runs = int(np.count_nonzero(np.diff(in_run) == 1))
        return int(np.count_nonzero(in_run)) / max(1, runs)

    @cached_property
    def letters(self) -> float:
        """The share of words with a letter; in scripts without spaces that of characters that are letters."""
        if self.script.spaces:
            lettered_R = self._runs[2]
            return float(lettered_R.mean()) if len(lettered_R) else 0.0
        letters = int(np.count_nonzero(self.kinds & (LETTER | UNSPACED)))
        return letters / max(1, int(np.count_nonzero((self.kinds & SPACE) == 0)))

    @cached_property
    def _unit_bounds(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where units begin and end: what spaces part, and every character of a script without them."""
        if not any(self._counts[:3]):
            return self._run_bounds[::2], self._run_bounds[1::2]
        kinds = self.kinds
        alone = np.zeros(len(kinds) + 2, dtype=np.bool_)
        space = np.ones(len(kinds) + 2, dtype=np.bool_)
        alone[1:-1] = (kinds & UNSPACED) > 0
        space[1:-1] = (kinds & SPACE) > 0
        edge = space | alone
        inside = ~space[1:-1]
        starts = np.flatnonzero(inside & (alone[1:-1] | edge[:-2]))
        ends = np.flatnonzero(inside & (alone[1:-1] | edge[2:])) + 1
        return starts, ends

    @cached_property
    def unit_ids(self) -> NDArray[np.int64]:
        """A number for each unit of n-grams from 0 on, the same for the same."""
        return np.unique(self.unit_sums, return_inverse=True)[1]

    @cached_property
    def unit_sums(self) -> NDArray[np.uint64]:
        """For each unit of n-grams a sum of 64 bits over its characters."""
        starts, ends = self._unit_bounds
        if not len(starts):
            return np.zeros(0, np.uint64)
        sums, first = [], 0
        while first < len(starts):
            within = int(np.searchsorted(ends, starts[first] + LONGEST, side="right"))
            behind = min(first + AT_ONCE, max(within, first + 1))
            sums.append((_sums if within > first else _digest)(self.codes, starts[first:behind], ends[first:behind]))
            first = behind
        return np.concatenate(sums)

    @cached_property
    def unit_lengths(self) -> NDArray[np.int64]:
        """The characters of each unit."""
        starts, ends = self._unit_bounds
        return ends - starts


def _sums(codes: NDArray[Any], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A polynomial of each unit's code points, modulo 2 ** 64."""
    first, end = int(starts[0]), int(ends[-1])
    powers, inverse = _powers(1 << max(10, end - first - 1).bit_length())
    values = np.append((codes[first:end].astype(np.uint64) + np.uint64(1)) * powers[: end - first], np.uint64(0))
    bounds = np.stack([starts - first, ends - first], axis=1).reshape(-1)
    summed: NDArray[np.uint64] = np.add.reduceat(values, bounds)[::2] * inverse[starts - first]
    return summed


def _digest(codes: NDArray[Any], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The like for one unit that is longer than any that has such a sum."""
    code_points = codes[starts[0] : ends[0]].astype("<u4")  # the same in a text that is not ASCII elsewhere
    digest = hashlib.blake2b(code_points.tobytes(), digest_size=8).digest()
    return np.array([int.from_bytes(digest)], dtype=np.uint64)


@lru_cache(maxsize=4)
def _powers(length: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The powers of an odd number from 0 on, and what undoes them."""
    odd = 0x9E3779B97F4A7C15
    columns = []
    for factor in (odd, pow(odd, -1, 2**64)):
        powers = np.full(length, factor, dtype=np.uint64)
        powers[0] = 1
        columns.append(np.multiply.accumulate(powers))
    return columns[0], columns[1]

"""Which of several parts a row is of, in shares that may change on the way: a function of the row's number alone.

Rows come in blocks. In each block systematic sampling (Madow 1949) gives every part its share of the rows, but for one
row more or less, and a draw of the block's own puts them in order. Where the sampling of a block begins goes on by the
golden ratio from block to block (Weyl's sequence), so that what a block has too much another soon has too little: over
any number of rows the counts stay some rows from the shares, and how many rows a part has had before a block is a sum
of floors, which takes no longer the further a training is.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate, pairwise

import numpy as np

from danlu.corpus.rows import Ints

BLOCK = 16
"""In so many rows the parts have their shares, but for a row more or less."""
BLOCKS_AT_ONCE = 256
ONE = 1 << 64
"""What places between 0 and 1 are counted in."""
GOLDEN = (math.isqrt(5 << 128) - ONE) >> 1
"""The golden ratio's fraction; of all steps it spreads points most evenly, however many they are."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Rows in which the shares stay what they are."""

    first: int
    """The number of its first row; it reaches to the next one's."""
    weights: tuple[float, ...]
    """Of each part, against those of the others; 0 for one that has no row here."""

    @property
    def shares(self) -> tuple[float, ...]:
        """Of the rows; they add up to 1."""
        return tuple(weight / sum(self.weights) for weight in self.weights)


@dataclass
class Shares:
    """The parts of rows by their numbers."""

    seed: int
    stretches: tuple[Stretch, ...]
    """The first begins with row 0, the last has no end."""
    _bounds: list[list[int]] = field(init=False, repr=False)
    """``[stretches][parts + 1]``: the parts of a block behind each other, in ``ONE`` a row."""
    _before: list[Ints] = field(init=False, repr=False)
    """``[stretches][parts]``: rows that each part has had before a stretch."""
    _many: tuple[int, int, Ints] = field(init=False, repr=False)
    _block: tuple[int, int, list[int], list[int]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._bounds = [_bounds(stretch.weights) for stretch in self.stretches]
        self._before = [np.zeros(len(self.stretches[0].weights), dtype=np.int64)]
        self._many, self._block = (-1, -1, self._before[0]), (-1, -1, [], [])
        for one, (stretch, following) in enumerate(pairwise(self.stretches)):
            self._before.append(self._before[one] + self._within(one, following.first - stretch.first))

    def where(self, number: int) -> tuple[int, int]:
        """Which part a row is of, and the how-manieth of that part's rows it is, counted from 0."""
        stretch = self._stretch(number)
        block, place = divmod(number - self.stretches[stretch].first, BLOCK)
        known = self._block  # one look at it, for another thread may look elsewhere
        if known[:2] != (stretch, block):
            before, order = self._before[stretch] + self._blocks(stretch, block)[0], self._order(stretch, block)
            of_part = [int(before[part]) + order[:place].count(part) for place, part in enumerate(order)]
            self._block = known = (stretch, block, order, of_part)
        return known[2][place], known[3][place]

    def before(self, number: int) -> Ints:
        """``[parts]`` how many of the first ``number`` rows are of each part."""
        stretch = self._stretch(number)
        within = self._within(stretch, number - self.stretches[stretch].first)
        return np.asarray(self._before[stretch] + within)

    def _stretch(self, number: int) -> int:
        return bisect_right(self.stretches, number, key=lambda stretch: stretch.first) - 1

    def _within(self, stretch: int, rows: int) -> Ints:
        """``[parts]`` of so many first rows of a stretch."""
        block, place = divmod(rows, BLOCK)
        before = self._blocks(stretch, block)[0]
        return np.asarray(before + np.bincount(self._order(stretch, block)[:place], minlength=len(before)))

    def _order(self, stretch: int, block: int) -> list[int]:
        """The part of each row of a block."""
        counts = np.diff(self._blocks(stretch, block), axis=0)[0]
        source = np.random.Generator(np.random.Philox(np.random.SeedSequence([self.seed, stretch, block, 7])))
        found: list[int] = source.permutation(np.repeat(np.arange(len(counts)), counts)).tolist()
        return found

    def _blocks(self, stretch: int, block: int) -> Ints:
        """``[2, parts]`` rows of the stretch before one of its blocks and with it."""
        many, inner = divmod(block, BLOCKS_AT_ONCE)
        known = self._many
        if known[:2] != (stretch, many):
            self._many = known = (stretch, many, self._count(stretch, many * BLOCKS_AT_ONCE))
        return known[2][inner : inner + 2]

    def _count(self, stretch: int, first: int) -> Ints:
        """``[BLOCKS_AT_ONCE + 1, parts]`` rows of the stretch before each block from ``first`` on."""
        begin = int(np.random.SeedSequence([self.seed, stretch, 6]).generate_state(1, np.uint64)[0])
        bounds = [divmod(bound, ONE) for bound in self._bounds[stretch]]
        so_far = [first * whole + _below(rest, begin, first) for whole, rest in bounds]
        begins = (np.arange(BLOCKS_AT_ONCE, dtype=np.uint64) + np.uint64(first)) * np.uint64(GOLDEN) + np.uint64(begin)
        rest = np.array([rest for _, rest in bounds], dtype=np.uint64)
        each = np.array([whole for whole, _ in bounds]) + (begins[:, None] < rest)
        below = np.cumsum(np.concatenate(([so_far], each)), axis=0, dtype=np.int64)
        return below[:, 1:] - below[:, :-1]


def _bounds(weights: Sequence[float]) -> list[int]:
    """Where the parts of a block end, exactly: one of weight 0 takes no place, and the last ends with the block."""
    sums = list(accumulate(map(Fraction, weights), initial=Fraction(0)))
    return [int(BLOCK * ONE * each / sums[-1]) for each in sums]


def _below(bound: int, begin: int, blocks: int) -> int:
    """How many of the first ``blocks`` points, which go round from ``begin`` by the golden ratio, are below it."""
    if not bound:
        return 0
    return _floors(blocks, GOLDEN, begin) - _floors(blocks, GOLDEN, begin + ONE - bound) + blocks


def _floors(count: int, step: int, begin: int) -> int:
    """The sum of ``(step * n + begin) // ONE`` over ``n`` below ``count``, as Euclid's algorithm finds it."""
    total, unit = 0, ONE
    while True:
        total += count * (count - 1) // 2 * (step // unit) + count * (begin // unit)
        step, begin = step % unit, begin % unit
        last = step * count + begin
        if last < unit:
            return total
        count, begin = divmod(last, unit)
        unit, step = step, unit

"""A permutation that needs no memory: where any one number goes is computed, and so is an epoch begun anywhere.

A Feistel network on numbers of two digits, a · b of them, which is as few above ``count`` as may be; what falls outside
is sent through again ("cycle walking") until it is inside: Black and Rogaway 2002, "Ciphers with arbitrary finite
domains", methods 2 and 3, with the generalised network of their section 5, which adds instead of XOR. Two epochs have
keys of their own, drawn from (seed, epoch).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

ROUNDS = 8
"""Two for each of the digits make it a permutation; these many leave no pattern that the tests can see."""
_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Permutation:
    """Each number below ``count`` to another of them, one to one."""

    count: int
    keys: tuple[int, ...]
    """Of 64 bits, one a round; an even number of them."""

    def __post_init__(self) -> None:
        # The first digit is the larger one; there are fewer than 2 · √count + 1 numbers too many.
        first = math.isqrt(max(0, self.count - 1)) + 1
        object.__setattr__(self, "_digits", (first, -(-self.count // first)))

    def __getitem__(self, number: int) -> int:
        """Where ``number`` goes.

        Raises:
            IndexError: it is not below ``count``.
        """
        if not 0 <= number < self.count:
            raise IndexError(f"{number} is not one of {self.count} numbers")
        number = self._once(number)
        while number >= self.count:
            number = self._once(number)
        return number

    def _once(self, number: int) -> int:
        a, b = self._digits  # type: ignore[attr-defined]
        high, low = divmod(number, a)
        for turn in range(0, len(self.keys), 2):
            low = (low + _mixed(high + self.keys[turn])) % a
            high = (high + _mixed(low + self.keys[turn + 1])) % b
        return int(high * a + low)


def _mixed(bits: int) -> int:
    """All bits of 64 into each other (the finaliser of SplitMix64, Stafford's variant 13)."""
    bits &= _MASK
    bits = ((bits ^ bits >> 30) * 0xBF58476D1CE4E5B9) & _MASK
    bits = ((bits ^ bits >> 27) * 0x94D049BB133111EB) & _MASK
    return bits ^ bits >> 31


@lru_cache(maxsize=64)
def shuffled(count: int, *source: int) -> Permutation:
    """The permutation of ``count`` numbers that ``source``, such as (seed, epoch, what for), names."""
    keys = np.random.SeedSequence(source).generate_state(ROUNDS, np.uint64)
    return Permutation(count, tuple(int(key) for key in keys))

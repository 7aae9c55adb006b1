"""A permutation that needs no memory: where any one number goes is computed, and so is an epoch begun anywhere.

A Feistel network on numbers of two digits, a · b of them, which is as few above ``count`` as may be; what falls outside
is sent through again ("cycle walking") until it is inside: Black and Rogaway 2002, "Ciphers with arbitrary finite
domains", methods 2 and 3, with the generalised network of their section 5, which adds instead of XOR. Two epochs have
keys of their own, drawn from (seed, epoch).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

ORDER = 2
"""Which order of rows it is: counted up where anything here changes it, so that no training goes on in another one."""
ROUNDS = 16
"""An even number makes it a permutation. With 8 of them pairs of 5 numbers were 10 % off what is even, of 12 numbers
6 %; with 16 two hundred thousand permutations show no pattern that the tests look for."""
GOLDEN = 0x9E3779B97F4A7C15
"""2⁶⁴ by the golden ratio: steps that SplitMix64 takes from one key to the next."""
_MASK = (1 << 64) - 1

Ints = np.ndarray[Any, np.dtype[np.int64]]
Bits = np.ndarray[Any, np.dtype[np.uint64]]


@dataclass(frozen=True)
class Permutation:
    """Each number below ``count`` to another of them, one to one."""

    count: int
    keys: tuple[int, ...]
    """Of 64 bits, one a round; an even number of them."""
    digits: tuple[int, int] = field(init=False)
    """How many values each of the two digits has."""

    def __post_init__(self) -> None:
        # The first digit is the larger one; there are fewer than 2 · √count + 1 numbers too many.
        first = math.isqrt(max(0, self.count - 1)) + 1
        object.__setattr__(self, "digits", (first, -(-self.count // first)))

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
        a, b = self.digits
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
    return Permutation(count, _keys(*source))


def dealt(count: int, layers: int, turn: int, *source: int) -> Ints:
    """``[layers]`` where ``turn`` goes in permutations of ``count`` numbers, one for each layer.

    They are those of :class:`Permutation` whose keys are the mixed sums of ``source``'s and the layer's number times
    ``GOLDEN``, computed for all layers at once.
    """
    steps = np.arange(layers, dtype=np.uint64) * np.uint64(GOLDEN)
    keys_RL = [_mixed_all(np.uint64(key) + steps) for key in _keys(*source)]
    first, second = Permutation(count, ()).digits
    a, b, end = np.uint64(first), np.uint64(second), np.uint64(count)
    found = np.full(layers, turn, dtype=np.uint64)
    outside = np.ones(layers, dtype=np.bool_)
    while outside.any():
        high, low = np.divmod(found[outside], a)
        for even, odd in zip(keys_RL[::2], keys_RL[1::2], strict=True):
            low = (low + _mixed_all(high + even[outside]) % a) % a
            high = (high + _mixed_all(low + odd[outside]) % b) % b
        found[outside] = high * a + low
        outside = found >= end
    return found.astype(np.int64)


@lru_cache(maxsize=64)
def _keys(*source: int) -> tuple[int, ...]:
    return tuple(int(key) for key in np.random.SeedSequence(source).generate_state(ROUNDS, np.uint64))


def _mixed_all(bits: Bits) -> Bits:
    """As :func:`_mixed`, of many; numbers beyond 64 bits wrap by themselves."""
    bits = (bits ^ bits >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ bits >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return bits ^ bits >> np.uint64(31)

"""Words within an edit or two of each other, found without comparing all pairs.

Two words that one edit parts are the same with a letter left out of each (of the longer alone, where one was put in),
and so are two swapped neighbours; with two edits it is two letters. So words that have such a rest in common are the
candidates, as in Garbe's SymSpell (2012). Rests are compared as hashes of 64 bits: a chance hit is one candidate more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Owners = npt.NDArray[np.intp]
_BASE = 0x9E3779B97F4A7C15
"""Odd, so that it has an inverse modulo 2^64."""
_BACK: Hashes = np.array([pow(_BASE, -1, 2**64)], dtype=np.uint64)
_ROWS = 1 << 22
"""Hashes that are held and sorted at a time, about; more of them go through in parts."""


def rests_in_common(words: Sequence[str], groups: Sequence[str], *, twice: int) -> Iterator[list[int]]:
    """Sets of words, by their places in order, that are the same but for a letter or two left out of each.

    Every pair of a group within one edit (left out, put in, exchanged, swapped with its neighbour) is in one of them at
    least, and every pair within two edits whose words both have ``twice`` letters; a pair may be in several.

    Args:
        words: what is compared.
        groups: one of each word; words of different groups need not be compared.
    """
    by_length: dict[int, list[int]] = {}
    for place, word in enumerate(words):
        if word:
            by_length.setdefault(len(word), []).append(place)
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups), 1)}
    salts = np.array([numbers[group] for group in groups], dtype=np.uint64) * np.uint64(0xD6E8FEB86659FD93)
    hashed = {
        length: (_prefixes([words[place] for place in places], length), salts[places], np.array(places))
        for length, places in by_length.items()
    }
    for length in sorted(hashed):
        for most in (1, 2):
            least = twice if most == 2 else 1
            lengths = {length - fewer: most - fewer for fewer in range(most + 1)}
            lengths = {each: left for each, left in lengths.items() if each in hashed and each >= max(least, left)}
            if length in lengths:
                yield from _shared(hashed, lengths)


def _prefixes(words: Sequence[str], length: int) -> Hashes:
    """The hash of the first 0, 1, … letters of words of one length: (words, length + 1)."""
    codes = np.array([[ord(letter) for letter in word] for word in words], dtype=np.uint64).reshape(-1, length)
    powers = np.array([pow(_BASE, place + 1, 2**64) for place in range(length)], dtype=np.uint64)
    sums = np.cumsum(codes * powers, axis=1, dtype=np.uint64)
    return np.concatenate([np.zeros((len(words), 1), np.uint64), sums], axis=1)


def _without(prefixes: Hashes, left_out: int) -> Hashes:
    """The hashes of the words with so many letters left out, in all ways: (words, ways)."""
    length = prefixes.shape[1] - 1
    whole = prefixes[:, -1:]
    if left_out == 0:
        return whole
    if left_out == 1:
        return prefixes[:, :-1] + _BACK * (whole - prefixes[:, 1:])
    first, second = np.triu_indices(length, 1)
    between = prefixes[:, second] - prefixes[:, first + 1]
    return prefixes[:, first] + _BACK * (between + _BACK * (whole - prefixes[:, second + 1]))


def _shared(hashed: Mapping[int, tuple[Hashes, Hashes, Owners]], lengths: Mapping[int, int]) -> Iterator[list[int]]:
    """The words of these lengths that are the same without as many letters as is said."""
    ways = {length: max(1, (left == 1) * length, (left == 2) * length * (length - 1) // 2)
            for length, left in lengths.items()}  # fmt: skip
    rows = sum(len(hashed[length][2]) * count for length, count in ways.items())
    parts = 1 << (rows // _ROWS).bit_length()
    for part in range(parts):
        keys, owners = [], []
        for length, left in lengths.items():
            prefixes, salts, places = hashed[length]
            step = max(1, _ROWS // ways[length])
            for start in range(0, len(places), step):
                chosen = slice(start, start + step)
                some = _without(prefixes[chosen], left) + salts[chosen, None]
                here = (some >> np.uint64(40)) & np.uint64(parts - 1) == part
                keys.append(some[here])
                owners.append(np.repeat(places[chosen], here.sum(axis=1)))
        yield from _runs(np.concatenate(keys), np.concatenate(owners))


def _runs(keys: Hashes, owners: Owners) -> Iterator[list[int]]:
    """The owners of each key that several have."""
    ordered = np.sort(keys)
    several = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not len(several):
        return
    found = np.isin(keys, several)
    keys, owners = keys[found], owners[found]
    order = np.lexsort((owners, keys))
    keys, owners = keys[order], owners[order]
    new = np.ones(len(keys), dtype=bool)
    new[1:] = (keys[1:] != keys[:-1]) | (owners[1:] != owners[:-1])  # a doubled letter can be left out in two ways
    keys, owners = keys[new], owners[new]
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    ends = np.append(starts[1:], len(keys))
    for which in np.flatnonzero(ends - starts > 1):
        yield owners[starts[which] : ends[which]].tolist()

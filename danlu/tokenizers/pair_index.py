"""Pairs of neighbouring tokens, how often they occur and where: what byte-pair encoding looks up at every step."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 22
"""Places that are worked on at once; arrays of about this many are kept in one piece."""
LOWER = 0.7
"""By how much the least count in the heap falls, when what is in it is used up."""
GROWTH = 1.5
"""Places are cleared when there are this many times as many as after the last clearing."""

Places = NDArray[np.uint32]


class Text(Protocol):
    """Tokens at places."""

    symbols: NDArray[np.int32]
    lengths: NDArray[np.int64]

    def weights(self, places: NDArray[np.unsignedinteger]) -> NDArray[np.int64] | None:
        """What each place counts for; None where all count for one."""

    def still(self, left: int, right: int, places: Places) -> Places:
        """Those of ``places`` at which the pair stands."""

    def before(self, places: Places) -> NDArray[np.int32]:
        """The tokens before tokens that begin there; negative where there is none."""

    def behind(self, token: int, places: Places) -> NDArray[np.int32]:
        """The tokens behind ``token`` where it begins there; negative where there is none."""


@dataclass(slots=True)
class Group:
    """Some pairs, each with a part of ``places``, rising."""

    keys: NDArray[np.uint64]
    """The left token's id × 2³² + the right one's."""
    counts: NDArray[np.int64]
    """No less than what the pair now counts for: it falls when its tokens are merged with others. 0: it is gone."""
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    places: Places


class PairIndex:
    """All pairs that occur often enough.

    The count of a pair is looked at only when it might be the greatest, for no count but a new token's rises. Only the
    greatest counts are in the heap, because there are millions of rare pairs.
    """

    def __init__(self, text: Text, *, first_tokens: int, min_frequency: int) -> None:
        self._text, self._least = text, max(1, min_frequency)
        self._groups = list(_first_groups(text, first_tokens, self._least))
        self._heap: list[tuple[int, int, int, int]] = []
        """Count (negative), key, number of the group, place in it."""
        counts = [int(group.counts.max()) for group in self._groups if len(group.counts)]
        self._limit = max(self._least, int(LOWER * max(counts, default=0)))
        """All pairs that count for so much are in the heap."""
        self._stored = self._kept = sum(len(group.places) for group in self._groups)
        self._fill()

    def most_frequent(self) -> tuple[int, int, Places] | None:
        """The pair that counts for most and where it is, which is then forgotten; None: all are too rare."""
        while True:
            if not self._heap or -self._heap[0][0] < self._limit:
                if self._limit > self._least:
                    self._lower()
                    continue
                return None
            negative, key, number, slot = heapq.heappop(self._heap)
            group = self._groups[number]
            left, right = key >> 32, key & 0xFFFFFFFF
            start, stop = int(group.starts[slot]), int(group.starts[slot] + group.lengths[slot])
            places = self._text.still(left, right, group.places[start:stop])
            weights = self._text.weights(places)
            count = len(places) if weights is None else int(weights.sum())
            if count == -negative:
                group.counts[slot] = group.lengths[slot] = 0
                return left, right, places
            group.places[start : start + len(places)] = places
            group.lengths[slot], group.counts[slot] = len(places), count if count >= self._least else 0
            if count >= self._limit:
                heapq.heappush(self._heap, (-count, key, number, slot))

    def add(self, token: int, places: Places) -> None:
        """The pairs of a token with its neighbours, where it begins at ``places``."""
        before, behind = self._text.before(places), self._text.behind(token, places)
        follows, goes_on = (before >= 0) & (before != token), behind >= 0  # of two of them, one pair is enough
        lefts = before[follows]
        starts = places[follows] - self._text.lengths[lefts].astype(np.uint32)
        self._put(_grouped(lefts, starts, self._text, self._least), lambda other: other << 32 | token)
        self._put(
            _grouped(behind[goes_on], places[goes_on], self._text, self._least), lambda other: token << 32 | other
        )
        if self._stored > GROWTH * self._kept + BLOCK:
            self._clear()

    def _put(self, group: Group, key: object) -> None:
        if len(group.keys):
            group.keys = key(group.keys)  # type: ignore[operator]
            self._groups.append(group)
            self._stored += len(group.places)
            self._push(len(self._groups) - 1, group.counts >= self._limit)

    def _push(self, number: int, chosen: NDArray[np.bool_]) -> None:
        group, slots = self._groups[number], np.flatnonzero(chosen)
        for slot, count, key in zip(
            slots.tolist(), group.counts[slots].tolist(), group.keys[slots].tolist(), strict=True
        ):
            heapq.heappush(self._heap, (-count, key, number, slot))

    def _lower(self) -> None:
        above, self._limit = self._limit, max(self._least, int(LOWER * self._limit))
        for number, group in enumerate(self._groups):
            self._push(number, (group.counts >= self._limit) & (group.counts < above))

    def _fill(self) -> None:
        self._heap.clear()
        for number, group in enumerate(self._groups):
            self._push(number, group.counts >= self._limit)

    def _clear(self) -> None:
        """Forget the places at which a pair stands no more, and put small groups together."""
        old, self._groups = self._groups[::-1], []
        waiting: list[Group] = []
        while old:
            waiting.append(_cleared(old.pop(), self._text, self._least))
            if not old or sum(len(group.places) for group in waiting) > BLOCK:
                self._groups.append(_joined(waiting))
                waiting = []
        self._stored = self._kept = sum(len(group.places) for group in self._groups)
        self._fill()


def _first_groups(text: Text, tokens: int, least: int) -> Iterator[Group]:
    """All pairs of a text in which nothing has been merged, in groups of about ``BLOCK`` places."""
    keys, sizes, counts = _count_all(text, tokens)
    chosen = counts >= least
    keys, sizes, counts = keys[chosen], sizes[chosen], counts[chosen]
    ends = np.cumsum(sizes)
    total = int(ends[-1]) if len(ends) else 0
    cursor, places = ends - sizes, np.empty(total, dtype=np.uint32)
    for found, found_at in _blocks(text, tokens):
        slots = np.searchsorted(keys, found)
        slots[slots == len(keys)] = 0
        here = keys[slots] == found if len(keys) else np.zeros(len(found), dtype=bool)
        slots, at = slots[here], found_at[here]
        firsts = np.flatnonzero(np.diff(slots, prepend=-1))
        runs = np.diff(firsts, append=len(slots))
        places[cursor[slots] + np.arange(len(slots)) - np.repeat(firsts, runs)] = at
        cursor[slots[firsts]] += runs
    pair_keys = (keys // tokens << 32 | keys % tokens).astype(np.uint64)
    begins = ends - sizes
    cuts = [0, *np.flatnonzero(np.diff(begins // BLOCK) > 0) + 1, len(keys)]
    for first, last in pairwise(cuts):
        if last > first:
            low, high = int(begins[first]), int(ends[last - 1])
            yield Group(
                pair_keys[first:last], counts[first:last], begins[first:last] - low, sizes[first:last],
                places[low:high].copy(),
            )  # fmt: skip


def _count_all(text: Text, tokens: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Keys (left × ``tokens`` + right, rising), how many places each has, and what they count for."""
    keys = sizes = counts = np.empty(0, dtype=np.int64)
    for found, places in _blocks(text, tokens):
        firsts = np.flatnonzero(np.diff(found, prepend=-1))
        runs = np.diff(firsts, append=len(found))
        weights = text.weights(places)
        sums = runs if weights is None or not len(firsts) else np.add.reduceat(weights, firsts)
        both = np.concatenate([keys, found[firsts]])
        keys, inverse = np.unique(both, return_inverse=True)
        sizes = _sums(inverse, np.concatenate([sizes, runs]), len(keys))
        counts = _sums(inverse, np.concatenate([counts, sums]), len(keys))
    return keys, sizes, counts


def _sums(slots: NDArray[np.int64], values: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    out = np.zeros(size, dtype=np.int64)
    np.add.at(out, slots, values)
    return out


def _blocks(text: Text, tokens: int) -> Iterator[tuple[NDArray[np.int64], Places]]:
    """Keys of pairs, rising within a block, and their places, rising for each key."""
    for begin in range(0, len(text.symbols) - 1, BLOCK):
        part = text.symbols[begin : begin + BLOCK + 1].astype(np.int64)
        places = np.flatnonzero((part[:-1] >= 0) & (part[1:] >= 0))
        # Sorting numbers is several times as fast as finding an order.
        packed = np.sort((part[places] * tokens + part[places + 1]) * BLOCK + places)
        yield packed // BLOCK, (packed % BLOCK + begin).astype(np.uint32)


def _grouped(others: NDArray[np.int32], places: Places, text: Text, least: int) -> Group:
    """One pair for each different token in ``others``, with its places; its key is that token."""
    packed = np.sort(others.astype(np.uint64) << np.uint64(32) | places)
    tokens, places = packed >> np.uint64(32), packed.astype(np.uint32)
    firsts = np.flatnonzero(np.diff(tokens, prepend=np.uint64(0xFFFFFFFF)))
    lengths = np.diff(firsts, append=len(tokens))
    return _often_enough(tokens[firsts], firsts, lengths, places, text, least)


def _often_enough(
    keys: NDArray[np.uint64],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    places: Places,
    text: Text,
    least: int,
) -> Group:
    """Without the rare pairs; the places of all lie one after the other."""
    weights = text.weights(places)
    counts = lengths if weights is None or not len(starts) else np.add.reduceat(weights, starts)
    chosen = counts >= least
    if not chosen.all():
        places = places[np.repeat(chosen, lengths)]
        keys, counts, lengths = keys[chosen], counts[chosen], lengths[chosen]
        starts = np.cumsum(lengths) - lengths
    return Group(keys, counts.copy(), starts, lengths, places)


def _cleared(group: Group, text: Text, least: int) -> Group:
    """With exact counts."""
    alive = group.counts > 0
    keys, starts, lengths = group.keys[alive], group.starts[alive], group.lengths[alive]
    slots = np.repeat(np.arange(len(keys)), lengths)
    places = group.places[np.arange(len(slots)) - np.repeat(np.cumsum(lengths) - lengths - starts, lengths)]
    lefts, rights = (keys >> np.uint64(32)).astype(np.int32), (keys & np.uint64(0xFFFFFFFF)).astype(np.int32)
    here = text.symbols[places] == lefts[slots]
    places, slots = places[here], slots[here]
    here = text.symbols[places + text.lengths[lefts[slots]]] == rights[slots]
    places, slots = places[here], slots[here]
    sizes = np.bincount(slots, minlength=len(keys))
    keys, sizes = keys[sizes > 0], sizes[sizes > 0]
    return _often_enough(keys, np.cumsum(sizes) - sizes, sizes, places, text, least)


def _joined(groups: list[Group]) -> Group:
    if len(groups) == 1:
        return groups[0]
    sizes = np.array([len(group.places) for group in groups], dtype=np.int64)
    begins = np.cumsum(sizes) - sizes
    return Group(
        np.concatenate([group.keys for group in groups]), np.concatenate([group.counts for group in groups]),
        np.concatenate([group.starts + begin for group, begin in zip(groups, begins.tolist(), strict=True)]),
        np.concatenate([group.lengths for group in groups]), np.concatenate([group.places for group in groups]),
    )  # fmt: skip

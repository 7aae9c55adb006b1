"""Texts that are almost the same: pairs with a high Jaccard index of their pieces, all of them, exactly.

A text is the set of its pieces: runs of four characters, and of two in Chinese and Japanese. Two sets with an index of
at least ``share`` have one of their rarest pieces in common, so that only texts with such a piece are compared (Bayardo
et al. 2007, "Scaling up all pairs similarity search"); shorter texts come first, so that they are found by fewer of
them, and of long texts several have to be in common, for those that are not among the rarest do not suffice (Xiao et
al. 2008, "Efficient similarity joins for near duplicate detection"). Unlike MinHash it misses none.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, count

import numpy as np
from numpy.typing import NDArray

from danlu.data.alike import IDEOGRAPHS

NEAR = 0.8
"""The Jaccard index from which two texts are almost the same: about one word of twenty differs."""
_LETTERS, _IDEOGRAPHS = 4, 2
_RUNS = re.compile(rf"(?P<ideographs>[{IDEOGRAPHS}]+)|[^{IDEOGRAPHS}]+")
LONGEST = 2000
"""Characters of a text that are compared, its first ones."""
_ROUNDING = 1e-9

Kind = Callable[[int, int], str | None]
Pieces = NDArray[np.int32]
"""The pieces of a text as numbers, the rarest first: the smaller, the rarer."""


def pieces(text: str) -> list[str]:
    """Runs of four characters, of two in Chinese and Japanese, each once; what is shorter is one."""
    found: dict[str, None] = {}
    for run in _RUNS.finditer(text[:LONGEST]):
        part = run[0].strip()
        size = _IDEOGRAPHS if run["ideographs"] else _LETTERS
        if part:
            found.update(dict.fromkeys(part[place : place + size] for place in range(max(1, len(part) - size + 1))))
    return list(found)


def near_pairs(texts: Sequence[tuple[str, ...]], kind: Kind, *, share: float = NEAR) -> Iterator[tuple[int, int, str]]:
    """Pairs of a text and one before it that are almost the same, at most one of each kind for the later one.

    Args:
        texts: normalised; of several texts each has to be almost the same as its counterpart.
        kind: what the pair (later, earlier) is of; None: nobody asks for it.

    Yields:
        the number of the later, of the earlier, and the kind.
    """
    sets = _by_rarity(texts)
    part = _telling(sets, share)
    sizes = [len(each[part]) for each in sets]
    begun, last = [0] * len(sets), [0] * len(sets)  # of those met already: pieces that they are found by, and the last
    met_with: dict[int, list[int]] = {}
    found: dict[int, dict[str, int]] = {}
    for number in sorted(range(len(sets)), key=sizes.__getitem__):
        length = sizes[number]
        prefix: list[int] = sets[number][part][: _prefix(length, share)].tolist()
        met = Counter(chain.from_iterable(met_with.get(piece, ()) for piece in prefix))
        for other, shared in met.items():
            size = sizes[other]
            rest = length - len(prefix) if prefix[-1] < last[other] else size - begun[other]
            most = min(size, shared + rest)  # that they may have in common
            if most < max(share * length, share / (1 + share) * (length + size)) - _ROUNDING:
                continue
            earlier, later = sorted((number, other))
            asked = kind(later, earlier)
            if asked is None or asked in found.get(later, ()):
                continue
            if _are_near(sets[number], sets[other], part, share):
                found.setdefault(later, {})[asked] = earlier
        begun[number] = _prefix(length, 2 * share / (1 + share))
        last[number] = prefix[begun[number] - 1]
        for piece in prefix[: begun[number]]:
            met_with.setdefault(piece, []).append(number)
    for later in sorted(found):
        yield from ((later, earlier, asked) for asked, earlier in found[later].items())


def _prefix(length: int, share: float) -> int:
    """So many of the rarest pieces of a text that who has ``share`` of all in common with it has one of these."""
    return length - math.ceil(share * length - _ROUNDING) + 1


def _by_rarity(texts: Sequence[tuple[str, ...]]) -> list[list[Pieces]]:
    """The pieces of each text of each example, the rarest first; a text without any has one of its own."""
    new = count().__next__
    numbers: dict[int, defaultdict[str, int]] = defaultdict(lambda: defaultdict(new))
    sets = [
        [
            np.fromiter(map(numbers[part].__getitem__, pieces(text) or [""]), np.int32)
            for part, text in enumerate(each or ("",))
        ]
        for each in texts
    ]  # fmt: skip
    counts = np.zeros(new(), np.int64)
    for each in sets:
        for part in each:
            counts[part] += 1  # a text has each piece once
    ranks = np.empty(len(counts), np.int32)
    ranks[np.argsort(counts, kind="stable")] = np.arange(len(counts), dtype=np.int32)
    for each in sets:
        for part in each:
            part[:] = ranks[part]  # in its place: nothing else that is kept here is as large
            part.sort()
    return sets


def _telling(sets: Sequence[Sequence[Pieces]], share: float) -> int:
    """Which text tells most examples apart: of a question and its context mostly the question, of sentences that begin
    with ``He`` and are to be ended what precedes them, or an ending.

    Only examples are compared that have one of its rarest pieces in common; of another text they would be far more.
    """
    shared = min(map(len, sets), default=0)
    return min(range(shared), key=lambda part: _met(sets, part, share)) if shared > 1 else 0


def _met(sets: Sequence[Sequence[Pieces]], part: int, share: float) -> int:
    """How often two examples have one of that text's rarest pieces in common, each counted with itself too."""
    rarest = np.concatenate([each[part][: _prefix(len(each[part]), share)] for each in sets])
    return int(np.square(np.bincount(rarest)).sum())


def _are_near(one: Sequence[Pieces], other: Sequence[Pieces], first: int, share: float) -> bool:
    """Whether each text has an index of at least ``share`` with its counterpart; the ``first`` is looked at first."""
    if len(one) != len(other):
        return False
    for part in sorted(range(len(one)), key=lambda part: part != first):
        least, most = sorted((len(one[part]), len(other[part])))
        if least < share * most - _ROUNDING:
            return False
        both = len(set(one[part].tolist()).intersection(other[part].tolist()))
        if both < share * (least + most - both) - _ROUNDING:
            return False
    return True

"""Texts that are almost the same: pairs with a high Jaccard index of their pieces, all of them, exactly.

A text is the set of its pieces: runs of four characters, and of two in Chinese and Japanese. Two sets with an index of
at least ``share`` have one of their rarest pieces in common, so that only texts with such a piece are compared (Bayardo
et al. 2007, "Scaling up all pairs similarity search"), and of long texts with several of them, for those that are not
among the rarest do not suffice (Xiao et al. 2008, "Efficient similarity joins for near duplicate detection"). Unlike
MinHash it misses none.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

from danlu.data.alike import IDEOGRAPHS

NEAR = 0.8
"""The Jaccard index from which two texts are almost the same: about one word of twenty differs."""
_LETTERS, _IDEOGRAPHS = 4, 2
_RUNS = re.compile(rf"(?P<ideographs>[{IDEOGRAPHS}]+)|[^{IDEOGRAPHS}]+")
LONGEST = 2000
"""Characters of a text that are compared, its first ones."""
_ROUNDING = 1e-9

Kind = Callable[[int, int], str | None]


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
    part = _fewest(sets)
    met_with: dict[int, list[int]] = {}
    rest: list[int] = []
    for number, mine in enumerate(sets):
        length = len(mine[part])
        prefix = mine[part][: length - math.ceil(share * length - _ROUNDING) + 1]
        rest.append(length - len(prefix))
        found = set()
        met = Counter(chain.from_iterable(met_with.get(piece, ()) for piece in prefix))
        for other, shared in met.items():
            size = len(sets[other][part])
            most = min(length, size, shared + max(rest[number], rest[other]))  # that they may have in common
            if most < share / (1 + share) * (length + size) - _ROUNDING:
                continue
            asked = kind(number, other)
            if asked is not None and asked not in found and _are_near(mine, sets[other], part, share):
                found.add(asked)
                yield number, other, asked
        for piece in prefix:
            met_with.setdefault(piece, []).append(number)


def _by_rarity(texts: Sequence[tuple[str, ...]]) -> list[list[list[int]]]:
    """The pieces of each text of each example as numbers, the rarest first; a text without any has one of its own."""
    numbers: dict[tuple[int, str], int] = {}
    sets = [
        [
            [numbers.setdefault((part, piece), len(numbers)) for piece in pieces(text) or [""]]
            for part, text in enumerate(each or ("",))
        ]
        for each in texts
    ]  # fmt: skip
    counts = Counter(piece for each in sets for part in each for piece in part)
    for each in sets:
        for part in each:
            part.sort(key=lambda piece: (counts[piece], piece))
    return sets


def _fewest(sets: Sequence[Sequence[Sequence[int]]]) -> int:
    """Which text of the examples is the shortest: of a question and its context the question.

    Only those with one of its rarest pieces in common are compared; the others' would be of far more pairs.
    """
    shared = min(map(len, sets), default=1)
    return min(range(shared), key=lambda part: sum(len(each[part]) for each in sets))


def _are_near(one: Sequence[Sequence[int]], other: Sequence[Sequence[int]], first: int, share: float) -> bool:
    """Whether each text has an index of at least ``share`` with its counterpart; the ``first`` is looked at first."""
    if len(one) != len(other):
        return False
    for part in sorted(range(len(one)), key=lambda part: part != first):
        least, most = sorted((len(one[part]), len(other[part])))
        if least < share * most - _ROUNDING:
            return False
        both = len(set(one[part]).intersection(other[part]))
        if both < share * (least + most - both) - _ROUNDING:
            return False
    return True

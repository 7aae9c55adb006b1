"""Texts that are almost the same: pairs with a high Jaccard index of their pieces, all of them, exactly.

A text is the set of its pieces: runs of four characters, and of two in Chinese and Japanese. Two sets with an index of
at least ``share`` have one of their rarest pieces in common, so that only texts with such a piece are compared (Bayardo
et al. 2007, "Scaling up all pairs similarity search"). Unlike MinHash it misses none.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

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
    ordered, part_of = _by_rarity(texts)
    met_with: dict[int, list[int]] = {}
    for number, mine in enumerate(ordered):
        length = len(mine)
        prefix = mine[: length - math.ceil(share * length - _ROUNDING) + 1]
        met, found = set(), set()
        for piece in prefix:
            for other in met_with.get(piece, ()):
                if other in met:
                    continue
                met.add(other)
                asked = kind(number, other)
                sizes = sorted((length, len(ordered[other])))
                if asked is None or asked in found or sizes[0] < share * sizes[1] - _ROUNDING:
                    continue
                if _index(mine, ordered[other], part_of) >= share - _ROUNDING:
                    found.add(asked)
                    yield number, other, asked
        for piece in prefix:
            met_with.setdefault(piece, []).append(number)


def _by_rarity(texts: Sequence[tuple[str, ...]]) -> tuple[list[list[int]], list[int]]:
    """The pieces of each text as numbers, the rarest first; and to which of an example's texts each belongs."""
    numbers: dict[tuple[int, str], int] = {}
    sets = [
        [numbers.setdefault((part, piece), len(numbers)) for part, text in enumerate(each) for piece in pieces(text)]
        for each in texts
    ]
    counts = Counter(piece for each in sets for piece in each)
    for each in sets:
        each.sort(key=lambda piece: (counts[piece], piece))
    return sets, [part for part, _ in numbers]


def _index(one: Sequence[int], other: Sequence[int], part_of: Sequence[int]) -> float:
    """The Jaccard index, the smallest of those of their parts."""
    first, second = set(one), set(other)
    both, either = (Counter(part_of[piece] for piece in pieces) for pieces in (first & second, first | second))
    return min((both[part] / count for part, count in either.items()), default=0.0)

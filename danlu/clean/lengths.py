"""Bins of lengths, ten for each power of ten, so that lengths of all kinds of texts fit on one axis."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

_STEPS = (10, 12.5, 16, 20, 25, 31.5, 40, 50, 63, 80)
"""The preferred numbers of ISO 3, series R10."""
EDGES: NDArray[np.int64] = np.array(
    [0, 1, 2, 3, 4, 5, 6, 8, *(math.ceil(step * 10**power) for power in range(9) for step in _STEPS)]
)
"""Where bins begin, in characters; the last one has no end. A bin is named by its beginning."""


def bins_of(lengths: NDArray[Any]) -> Counter[int]:
    """How many of ``lengths`` are in each bin that has any."""
    counts = np.bincount(np.searchsorted(EDGES, lengths, side="right") - 1, minlength=len(EDGES))
    return Counter({int(EDGES[place]): int(counts[place]) for place in np.flatnonzero(counts)})


def bin_end(start: int) -> int:
    """Where the bin that begins at ``start`` ends: the beginning of the next one."""
    place = int(np.searchsorted(EDGES, start)) + 1
    return int(EDGES[place]) if place < len(EDGES) else 10 * start

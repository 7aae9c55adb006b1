"""How far a figure would move had other documents been held out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000


def ratio_interval(
    numerators: NDArray[np.float64], denominators: NDArray[np.float64], *, seed: int, level: float = 0.95
) -> tuple[float, float] | None:
    """Percentile bootstrap interval of ``sum(numerators) / sum(denominators)`` over documents.

    Documents are drawn whole, because the tokens of one are not independent of each other; a
    document counts by its size. None with fewer than two documents (Efron & Tibshirani 1993, ch. 13).
    """
    documents = len(numerators)
    if documents < 2:
        return None
    generator = np.random.default_rng(seed)
    ratios = np.empty(RESAMPLES)
    for draw in range(RESAMPLES):
        drawn = generator.integers(documents, size=documents)
        ratios[draw] = numerators[drawn].sum() / denominators[drawn].sum()
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)

"""Whether raters agree beyond chance: Krippendorff's alpha over all of them, Cohen's kappa of two.

Axes: N units, V values, B choices of units, G groups of units that are drawn together, S sums.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np

from danlu.metrics.tally import Numbers, Tally, by_sums

Level = Literal["nominal", "ordinal", "interval"]


def alpha(units: Sequence[Sequence[float]], level: Level, *, groups: Sequence[Hashable] | None = None) -> Tally | None:
    """Krippendorff's alpha, the figure ``alpha`` (Krippendorff 2011, "Computing Krippendorff's alpha-reliability").

    1 is perfect agreement, 0 what chance gives; raters may be any number, and differ from unit to unit.

    Args:
        units: the ratings of each unit, in any order; those with one rating or none do not count.
        level: what a difference of two values is: any is as large as another (``nominal``), or how many ratings lie
            between them (``ordinal``), or their distance (``interval``).
        groups: which units a resample draws together, one value a unit; by default each on its own.

    Returns:
        The tally of the groups; its figure is left out where all ratings are of one value, since chance agrees then
        as well. None where no unit has two ratings.
    """
    pairable = [place for place, unit in enumerate(units) if len(unit) > 1]
    if not pairable:
        return None
    values = sorted({value for place in pairable for value in units[place]})
    index = {value: place for place, value in enumerate(values)}
    sums_NS = np.zeros((len(pairable), len(values) ** 2))
    for row, place in enumerate(pairable):
        unit = units[place]
        counts_V = np.bincount([index[value] for value in unit], minlength=len(values))
        coincidences_VV = (np.outer(counts_V, counts_V) - np.diag(counts_V)) / (len(unit) - 1)
        sums_NS[row] = coincidences_VV.ravel()
    if groups is not None:
        sums_NS = grouped(sums_NS, [groups[place] for place in pairable])
    values_V = np.array(values, dtype=np.float64)
    return by_sums(sums_NS, lambda sums_BS: {"alpha": _alpha(sums_BS, values_V, level)})


def grouped(rows_NS: Numbers, groups: Sequence[Hashable]) -> Numbers:
    """Sums of the rows of each group, ``[G, S]``, in the order in which groups occur first."""
    places = {group: place for place, group in enumerate(dict.fromkeys(groups))}
    sums_GS = np.zeros((len(places), rows_NS.shape[1]))
    np.add.at(sums_GS, [places[group] for group in groups], rows_NS)
    return sums_GS


def kappa(first: Sequence[float], second: Sequence[float], *, weights: Literal["none", "quadratic"]) -> float | None:
    """Cohen's kappa of two raters of the same items (Cohen 1960), or weighted by squared distance (Cohen 1968).

    None where it is not defined: there is no item, or both gave nothing but one and the same value.
    """
    values = sorted({*first, *second})
    if len(values) < 2:
        return None
    index = {value: place for place, value in enumerate(values)}
    seen_VV = np.zeros((len(values), len(values)))
    np.add.at(seen_VV, ([index[value] for value in first], [index[value] for value in second]), 1)
    chance_VV = np.outer(seen_VV.sum(axis=1), seen_VV.sum(axis=0)) / seen_VV.sum()
    values_V = np.array(values, dtype=np.float64)
    squares_VV = (values_V[:, None] - values_V) ** 2
    apart_VV = (squares_VV > 0).astype(np.float64) if weights == "none" else squares_VV
    return float(1 - (apart_VV * seen_VV).sum() / (apart_VV * chance_VV).sum())


def _alpha(sums_BS: Numbers, values_V: Numbers, level: Level) -> Numbers:
    coincidences_BVV = sums_BS.reshape(-1, len(values_V), len(values_V))
    totals_BV = coincidences_BVV.sum(axis=2)
    apart_BVV = _apart(totals_BV, values_V, level)
    seen_B = (coincidences_BVV * apart_BVV).sum(axis=(1, 2))
    chance_B = (totals_BV[:, :, None] * totals_BV[:, None, :] * apart_BVV).sum(axis=(1, 2))
    ratings_B = totals_BV.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(chance_B > 0, 1 - (ratings_B - 1) * seen_B / chance_B, np.nan)


def _apart(totals_BV: Numbers, values_V: Numbers, level: Level) -> Numbers:
    """How far two values are apart, squared."""
    if level == "nominal":
        return (1 - np.eye(len(values_V)))[None]
    if level == "interval":
        return ((values_V[:, None] - values_V) ** 2)[None]
    middles_BV = totals_BV.cumsum(axis=1) - totals_BV / 2  # the ratings below a value and half of those at it
    return (middles_BV[:, :, None] - middles_BV[:, None, :]) ** 2

"""How sure a figure is, and whether two runs differ: bootstrap and randomisation over items, of any metric.

Items are drawn whole, since what is inside one (the tags of a sentence) is not independent. Everything is repeatable
by its seed.

Axes: B draws, N items.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from danlu.metrics.bootstrap import RESAMPLES
from danlu.metrics.tally import CELLS, Metric, Named, Numbers, Tally, check_pairs, settled, stacked
from danlu.ticks import tick

ROUNDING = 1e-12
"""Share of a figure that sums in another order may differ by: a difference of less is none."""

Gold = TypeVar("Gold")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Difference:
    """A figure of two runs on the same items; differences are the second run's less the first's."""

    first: float
    second: float
    difference: float
    low: float
    """Percentile bootstrap interval of the difference."""
    high: float
    p_bootstrap: float
    """How often a resampled difference, less the mean of all, is at least as far from 0 as the one seen."""
    p_randomisation: float
    """How often that is so where each item's two answers are given to the runs by a coin."""


def intervals(
    tally: Tally, *, seed: int, level: float = 0.95, resamples: int = RESAMPLES
) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap intervals of all figures (Efron & Tibshirani 1993, ch. 13); none of a single item.

    Draws in which a figure has nothing to be about, such as those without a rare label, do not count for it.
    """
    if tally.items < 2:
        return {}
    drawn = stacked([tally.figures(times_BN) for times_BN in resampled(tally.items, resamples, seed)])
    return {name: _percentiles(values, level) for name, values in drawn.items() if not np.isnan(values).all()}


def compare(
    metric: Metric[Gold, Answer],
    gold: Sequence[Gold],
    first: Sequence[Answer],
    second: Sequence[Answer],
    *,
    seed: int,
    level: float = 0.95,
    resamples: int = RESAMPLES,
) -> dict[str, Difference]:
    """Every figure of two runs on the same items, with an interval of the difference and two tests of it.

    The paired bootstrap (Koehn 2004) draws items with both their answers; approximate randomisation (Noreen 1989;
    Riezler & Maxwell 2005) exchanges the answers of items by a coin. Both are two-sided, and their p-value is
    ``(k + 1) / (resamples + 1)`` for k draws at least as extreme. Two equal runs have p = 1. Figures that only one run
    has are left out, as is everything of a single item.

    Raises:
        InputError: as the metric's ``tally`` does, of either run.
    """
    check_pairs(gold, first)
    check_pairs(gold, second)
    items = len(gold)
    if items < 2:
        return {}
    both = settled(metric, gold).tally([*gold, *gold], [*first, *second])
    halves = both.figures(np.repeat(np.eye(2), items, axis=1))
    there = {name: values for name, values in halves.items() if not np.isnan(values).any()}
    found = {}
    redrawn = _differences(both, resampled(items, resamples, seed), halved=False)
    exchanged = _differences(both, _coins(items, resamples, seed), halved=True)
    for name, (one, other) in ((name, values.tolist()) for name, values in there.items()):
        drawn = redrawn[name][~np.isnan(redrawn[name])]
        by_coin = exchanged[name][~np.isnan(exchanged[name])]
        if not len(drawn) or not len(by_coin):
            continue
        low, high = _percentiles(drawn, level)
        seen = float(_difference(np.array([one]), np.array([other]))[0])
        least = abs(seen) - ROUNDING * max(abs(one), abs(other))
        found[name] = Difference(
            first=one,
            second=other,
            difference=seen,
            low=low,
            high=high,
            p_bootstrap=_p(drawn - drawn.mean(), least),
            p_randomisation=_p(by_coin, least),
        )
    return found


def mcnemar(first_right: Sequence[bool], second_right: Sequence[bool]) -> float:
    """The exact two-sided p-value of McNemar's test (1947) that two runs are right equally often; 1 if they agree.

    Raises:
        InputError: there is no item, or lengths differ.
    """
    check_pairs(first_right, second_right)
    pairs = list(zip(first_right, second_right, strict=True))
    only_first, only_second = sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)
    apart = only_first + only_second
    tail = ways = 1
    for count in range(min(only_first, only_second)):
        ways = ways * (apart - count) // (count + 1)  # of choosing one more: each anew would take hours of many
        tail += ways
    return min(1.0, 2 * tail / (1 << apart))


def resampled(items: int, draws: int, seed: int) -> Iterator[Numbers]:
    """How often each item is drawn, with replacement, some draws at a time."""
    generator = np.random.default_rng(seed)
    for count in _parts(items, draws):
        chosen_BN = generator.integers(items, size=(count, items)) + np.arange(count)[:, None] * items
        yield np.bincount(chosen_BN.ravel(), minlength=count * items).reshape(count, items).astype(np.float64)


def _coins(items: int, draws: int, seed: int) -> Iterator[Numbers]:
    """Whether each item's answers are left as they are (1) or exchanged (0)."""
    generator = np.random.default_rng(seed)
    for count in _parts(items, draws):
        yield generator.integers(2, size=(count, items)).astype(np.float64)


def _parts(items: int, draws: int) -> Iterator[int]:
    at_once = max(1, CELLS // items)
    for start in range(0, draws, at_once):
        yield min(at_once, draws - start)
        tick()


def _differences(both: Tally, draws: Iterator[Numbers], *, halved: bool) -> Named:
    """Second run less first; of a resample (the same items of both), or with answers exchanged (``halved``)."""
    found = []
    for times_BN in draws:
        other_BN = 1 - times_BN if halved else np.zeros_like(times_BN)
        first = both.figures(np.concatenate([times_BN, other_BN], axis=1))
        second = both.figures(np.concatenate([other_BN, times_BN], axis=1))
        found.append({name: _difference(first[name], second[name]) for name in first})
    return stacked(found)


def _difference(first: Numbers, second: Numbers) -> Numbers:
    """Second less first; 0 where that is rounding."""
    apart = second - first
    return np.where(np.abs(apart) <= ROUNDING * np.maximum(np.abs(first), np.abs(second)), 0.0, apart)


def _percentiles(values: Numbers, level: float) -> tuple[float, float]:
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _p(differences: Numbers, least: float) -> float:
    return float(((np.abs(differences) >= least).sum() + 1) / (len(differences) + 1))

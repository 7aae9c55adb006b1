"""Metrics of tasks: from gold answers and a model's to named figures, for all items or any choice of them.

A :class:`Metric` looks at every item once and returns a :class:`Tally`, which knows the figures of any choice of
the items: how often each counts goes in (0 leaves it out, 2 takes it twice), figures come out. One evaluation,
slices (:func:`slices`), bootstrap intervals (:func:`danlu.metrics.resampling.intervals`) and the comparison of
two runs (:func:`danlu.metrics.resampling.compare`) are that one function with other numbers, for every metric::

    tally = Entities().tally(gold_tags, predicted_tags)
    overall(tally)                      # {"micro.f1": 0.81, "macro.f1": 0.78, "label.PER.f1": 0.9, …}
    slices(tally, languages)            # {"en": {…}, "zh": {…}}
    of_each(tally)["micro.f1"]          # of every item alone, for a list of the worst
    intervals(tally, seed=1)            # {"micro.f1": (0.78, 0.84), …}

Figures are shares from 0 to 1, but BLEU and chrF, which sacreBLEU's signature goes with, are from 0 to 100. A share
of nothing (the precision of a label that was never predicted) is 0, as scikit-learn's is with ``zero_division=0``.
A figure about what does not occur at all (a label that neither gold nor prediction of a slice has) is left out.
Items are counted from 1 in errors.

Axes: B choices of items, N items, S sums.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from danlu.errors import InputError
from danlu.ticks import ticking

Numbers = NDArray[np.float64]
Named = dict[str, Numbers]
"""Figures by name, each ``[B]``; NaN where there is nothing that the figure could be about."""

CELLS = 2**21
"""Items times choices of them that are in memory together."""

Gold_contra = TypeVar("Gold_contra", contravariant=True)
Answer_contra = TypeVar("Answer_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class Tally:
    """What a metric keeps of the items.

    ``figures`` takes how often each item counts in each choice, whole numbers ``[B, N]``; every choice has an item.
    """

    items: int
    figures: Callable[[Numbers], Named]
    notes: Mapping[str, str] = field(default_factory=dict)
    """What goes with the figures in words, such as a signature, by name."""


class Metric(Protocol[Gold_contra, Answer_contra]):
    """Settings of a metric."""

    def tally(self, gold: Sequence[Gold_contra], predicted: Sequence[Answer_contra]) -> Tally:
        """Look at every item once.

        Raises:
            InputError: there is no item, an item lacks its prediction, or an item is not of the metric's form.
        """
        ...


@runtime_checkable
class CorpusLevel(Protocol):
    """A metric of which something follows from all gold answers together, such as the language that they are in."""

    def settled(self, gold: Sequence[Any]) -> Metric[Any, Any]:
        """The metric with what follows from ``gold``, whatever part of it, or how often, is looked at later.

        Raises:
            InputError: an item of ``gold`` is not of the metric's form.
        """
        ...


def settled(metric: Metric[Gold_contra, Answer_contra], gold: Sequence[Gold_contra]) -> Metric[Any, Any]:
    """``metric`` for parts or repetitions of ``gold``: their figures are those that :meth:`Metric.tally` of all gives.

    Raises:
        InputError: an item of ``gold`` is not of the metric's form.
    """
    return metric.settled(gold) if isinstance(metric, CorpusLevel) else metric


def overall(tally: Tally) -> dict[str, float]:
    """The figures of all items."""
    return _first(tally.figures(np.ones((1, tally.items))))


def of_each(tally: Tally) -> dict[str, Numbers]:
    """The figures of every item alone, ``[N]``: what a list of the worst is sorted by; NaN where one has none."""
    at_once = max(1, CELLS // tally.items)
    parts = [
        tally.figures(np.eye(min(at_once, tally.items - start), tally.items, start))
        for start in ticking(range(0, tally.items, at_once))
    ]
    return stacked(parts)


def slices(tally: Tally, column: Sequence[str]) -> dict[str, dict[str, float]]:
    """The figures of the items of each value of ``column``, beside how many ``items`` it has; values are sorted.

    Raises:
        InputError: the column has not as many values as there are items.
    """
    check_lengths(column, tally.items, what="values of the column", of="items")
    values = np.array(column, dtype=object)
    found = {}
    for value in ticking(sorted(set(column))):
        chosen = values == value
        found[value] = {"items": float(chosen.sum()), **_first(tally.figures(chosen[None].astype(np.float64)))}
    return found


def bands(numbers: Sequence[float], *, parts: int = 4) -> list[str]:
    """A column for :func:`slices`: the band of each number, ``12..40``, of about equally many items.

    Equal numbers are in one band, so that there may be fewer bands than ``parts``. Bands sort by size: they are
    numbered, ``1: 3..11``.
    """
    if not len(numbers):
        return []
    ordered = np.sort(np.asarray(numbers, dtype=np.float64))
    firsts = np.unique(ordered[[len(ordered) * part // parts for part in range(parts)]])
    places = np.searchsorted(firsts, np.asarray(numbers, dtype=np.float64), side="right") - 1
    names = []
    for place in range(len(firsts)):
        inside = ordered[np.searchsorted(firsts, ordered, side="right") - 1 == place]
        names.append(f"{place + 1}: {inside[0]:g}..{inside[-1]:g}")
    return [names[place] for place in places]


def by_sums(sums_NS: Numbers, figures: Callable[[Numbers], Named], notes: Mapping[str, str] | None = None) -> Tally:
    """A tally of figures that follow from sums over the items, ``[B, S]``: most do."""
    return Tally(len(sums_NS), lambda times_BN: figures(times_BN @ sums_NS), notes or {})


def share(part: Numbers, whole: Numbers) -> Numbers:
    """``part / whole``; of nothing it is 0."""
    return np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=whole != 0)


def check_pairs(gold: Sequence[object], predicted: Sequence[object]) -> None:
    """Raise InputError where there is no item or not one prediction for each."""
    check_lengths(predicted, len(gold), what="predictions", of="gold answers")
    if not gold:
        raise InputError("there is no item to score")


def check_lengths(column: Sequence[object], items: int, *, what: str, of: str) -> None:
    """Raise InputError where ``column`` has not as many values as there are items."""
    if len(column) != items:
        first = min(len(column), items) + 1
        side = what if len(column) < items else of
        raise InputError(f"{len(column)} {what} for {items} {of}: item {first} is missing in the {side}")


def stacked(parts: Sequence[Named]) -> Named:
    """The choices of all parts, one behind the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _first(named: Named) -> dict[str, float]:
    return {name: float(values[0]) for name, values in named.items() if not np.isnan(values[0])}

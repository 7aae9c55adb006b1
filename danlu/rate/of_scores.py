"""The results of scores: means by criterion and model, and how far models are apart.

Axes: N ratings, P prompts, B choices of prompts, M models, S sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from danlu.metrics.resampling import intervals
from danlu.metrics.tally import Named, Numbers, Tally, by_sums, overall
from danlu.rate.agreement import grouped
from danlu.rate.store import Rating, Store
from danlu.rate.table import Table, around, span


def of_scores(store: Store, ratings: Sequence[Rating]) -> list[Table]:
    rubric, models = store.study.rubric, store.study.material.models
    assert rubric is not None
    means, apart = [], []
    prompts = [store.items[rating.number].prompt for rating in ratings]
    for criterion in rubric.criteria:
        sums_NS = np.zeros((len(ratings), 2 * len(models)))
        for row, rating in enumerate(ratings):
            model = store.items[rating.number].first
            sums_NS[row, [model, len(models) + model]] = rating.marks[criterion.name], 1
        tally = _means(grouped(sums_NS, prompts), len(models))
        found, drawn = overall(tally), intervals(tally, seed=store.study.seed)
        rows, spans = [], []
        for model, name in enumerate(models):
            count = int(sums_NS[:, len(models) + model].sum())
            value = found.get(str(model))
            shown = "" if value is None else f"{value:.2f}"
            rows.append([name, str(count), shown, around(drawn.get(str(model)))])
            spans.append(span(value, drawn.get(str(model))))
        scale = criterion.scale
        note = f"{criterion.question} {scale.lowest}: {scale.worst}; {scale.highest}: {scale.best}."
        means.append(
            Table(
                f"Scores: {criterion.name}", ["model", "ratings", "mean", "interval"], rows,
                note=note, spans=spans, range=(scale.lowest, scale.highest),
            )
        )  # fmt: skip
        for first, second in combinations(range(len(models)), 2):
            if (name := f"{first}-{second}") in found:
                inside = around(drawn.get(name), sign="+")
                apart.append([criterion.name, models[first], models[second], f"{found[name]:+.2f}", inside])
    if apart:
        note = "The first model's mean less the second's. Intervals of 95 %: bootstrap of prompts, as of the means."
        means.append(
            Table("Differences", ["criterion", "model", "less", "apart", "interval"], apart, texts=3, note=note)
        )
    return means


def _means(sums_PS: Numbers, models: int) -> Tally:
    """Means by model, and the differences of each two, in which a prompt counts for both models."""

    def figures(sums_BS: Numbers) -> Named:
        with np.errstate(invalid="ignore"):
            means_BM = sums_BS[:, :models] / sums_BS[:, models:]
        found = {str(model): means_BM[:, model] for model in range(models)}
        pairs = combinations(range(models), 2)
        return {**found, **{f"{one}-{other}": means_BM[:, one] - means_BM[:, other] for one, other in pairs}}

    return by_sums(sums_PS, figures)

"""Metrics of search: how many of the right texts are found among the first k, and how high they stand.

Right or wrong is all that is known of a text. Recall is the share of all right texts; reciprocal rank is that of the
first right one (Voorhees 1999); nDCG divides by the best order there can be (Järvelin & Kekäläinen 2002), its gains
being 1 and its discounts binary logarithms of the rank plus 1, as scikit-learn's and trec_eval's are.

Axes: N queries, S sums.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from danlu.errors import InputError, shown
from danlu.metrics.tally import Named, Numbers, Tally, by_sums, check_pairs
from danlu.recipe import Choice


class Retrieval(Choice):
    """A ranking an item: gold are the right texts, a prediction is those that were found, the best first."""

    recall: tuple[int, ...] = (1, 5, 10)
    """How many of the first texts are looked at for recall."""
    depth: int = Field(default=10, ge=1)
    """The same for the reciprocal rank and nDCG."""

    def tally(self, gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> Tally:
        """Figures ``recall@K`` for each K, ``mrr@DEPTH`` and ``ndcg@DEPTH``: means over the queries.

        Raises:
            InputError: there is no item, lengths differ, an item has no right text, or a ranking has a text twice.
        """
        check_pairs(gold, predicted)
        names = [*(f"recall@{k}" for k in self.recall), f"mrr@{self.depth}", f"ndcg@{self.depth}"]
        sums_NS = np.zeros((len(gold), len(names) + 1))
        for item, (right, ranked) in enumerate(zip(gold, predicted, strict=True)):
            _check(item + 1, right, ranked)
            sums_NS[item] = (*self._of_query(set(right), ranked), 1.0)

        def figures(sums_BS: Numbers) -> Named:
            return {name: sums_BS[:, place] / sums_BS[:, -1] for place, name in enumerate(names)}

        return by_sums(sums_NS, figures)

    def _of_query(self, right: set[str], ranked: Sequence[str]) -> list[float]:
        hits = np.array([text in right for text in ranked], dtype=np.float64)
        recalls = [float(hits[:k].sum()) / len(right) for k in self.recall]
        near = hits[: self.depth]
        discounts = 1.0 / np.log2(np.arange(2, self.depth + 2))
        best = discounts[: len(right)].sum()
        reciprocal = 1.0 / (int(near.argmax()) + 1) if near.any() else 0.0
        return [*recalls, reciprocal, float(near @ discounts[: len(near)]) / best]


def _check(number: int, right: Sequence[str], ranked: Sequence[str]) -> None:
    for side, texts in (("gold", right), ("predicted", ranked)):
        if isinstance(texts, str):
            raise InputError(f"item {number}: the {side} texts are the text {shown(texts)!r}, not a list")
    if not right:
        raise InputError(f"item {number}: no text is right")
    if len(set(ranked)) < len(ranked):
        twice = next(text for place, text in enumerate(ranked) if text in ranked[:place])
        raise InputError(f"item {number}: the ranking has a text twice: {shown(twice)!r}")

"""The metric of keywords: how many of an item's own, and of those that it was given, are right.

Axes: B choices of items, N items, S sums.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence
from typing import ClassVar

import numpy as np

from danlu.errors import InputError
from danlu.metrics.precision_recall import of_counts
from danlu.metrics.tally import Named, Numbers, Tally, by_sums, check_pairs, share
from danlu.recipe import Choice


class Keywords(Choice):
    """Any number of keywords an item, out of no fixed list; of a fixed list of labels, take MultiLabel."""

    main: ClassVar[str] = "samples.f1"
    """The figure that stands for all of them."""

    def tally(self, gold: Sequence[Collection[str]], predicted: Sequence[Collection[str]]) -> Tally:
        """Figures ``micro.…`` (of the keywords of all items) and ``samples.…`` (the mean over items) of ``precision``,
        ``recall`` and ``f1``.

        Keywords are the same whatever their case, their width (NFKC) and the spaces around them; one that is there
        twice counts once, and an empty one is none. An item without any on one side has 0.

        Raises:
            InputError: there is no item, lengths differ, or an item's keywords are no list of texts.
        """
        check_pairs(gold, predicted)
        sums_N7 = np.ones((len(gold), 7))
        for item, (right, answer) in enumerate(zip(gold, predicted, strict=True)):
            right_set = _keywords(right, who=f"item {item + 1}: the gold keywords")
            answer_set = _keywords(answer, who=f"item {item + 1}: the predicted keywords")
            sums_N7[item, :3] = len(right_set & answer_set), len(answer_set), len(right_set)
        alone = of_counts(sums_N7[:, 0], sums_N7[:, 1], sums_N7[:, 2])
        sums_N7[:, 3:6] = np.stack(list(alone.values()), axis=1)

        def figures(sums_B7: Numbers) -> Named:
            pooled = of_counts(sums_B7[:, 0], sums_B7[:, 1], sums_B7[:, 2])
            means = {f"samples.{name}": share(sums_B7[:, 3 + place], sums_B7[:, 6]) for place, name in enumerate(alone)}
            return {**{f"micro.{name}": values for name, values in pooled.items()}, **means}

        return by_sums(sums_N7, figures)


def _keywords(words: Collection[str], *, who: str) -> set[str]:
    if isinstance(words, str) or not all(isinstance(word, str) for word in words):
        raise InputError(f"{who} must be a list of texts")
    return {unicodedata.normalize("NFKC", word).strip().casefold() for word in words} - {""}

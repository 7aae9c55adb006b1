"""The metric of word segmentation: words whose both ends are right, as the bakeoffs of SIGHAN count them.

Axes: N items, S sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from danlu.errors import InputError
from danlu.metrics.precision_recall import of_counts
from danlu.metrics.tally import Tally, by_sums, check_pairs
from danlu.recipe import Choice
from danlu.ticks import ticking


class Words(Choice):
    """Words of a text that was cut: gold and prediction are the words, which joined are the same text."""

    def tally(self, gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> Tally:
        """Figures ``precision``, ``recall`` and ``f1`` of words (Sproat & Emerson 2003).

        Raises:
            InputError: there is no item, lengths differ, or an item's texts or words are not what they have to be.
        """
        check_pairs(gold, predicted)
        sums_N3 = np.zeros((len(gold), 3))
        for item, (right, answer) in enumerate(ticking(zip(gold, predicted, strict=True))):
            _check(right, answer, number=item + 1)
            right_spans, answer_spans = spans(right), spans(answer)
            sums_N3[item] = len(right_spans & answer_spans), len(answer_spans), len(right_spans)
        return by_sums(sums_N3, lambda sums_B3: of_counts(sums_B3[:, 0], sums_B3[:, 1], sums_B3[:, 2]))


def spans(words: Sequence[str]) -> set[tuple[int, int]]:
    """Where words begin and end in the text that they are, in characters."""
    ends = list(accumulate(len(word) for word in words))
    return set(zip([0, *ends], ends, strict=False))


def _check(right: Sequence[str], answer: Sequence[str], *, number: int) -> None:
    for side, words in (("gold", right), ("predicted", answer)):
        if isinstance(words, str):
            raise InputError(f"item {number}: the {side} words are one text, not a list of words")
        if "" in words:
            raise InputError(f"item {number}: a {side} word is empty")
    first, second = "".join(right), "".join(answer)
    if first != second:
        place = next(
            (place for place, (a, b) in enumerate(zip(first, second, strict=False), 1) if a != b),
            min(len(first), len(second)) + 1,
        )
        raise InputError(f"item {number}: gold and predicted words spell different texts, from character {place} on")

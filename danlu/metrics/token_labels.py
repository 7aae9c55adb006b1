"""The metric of labels of tokens that are each right or wrong by itself, such as parts of speech.

Equal to scikit-learn over the tokens of all items. Axes: B choices of items, N items, L labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from danlu.metrics.classification import check_labels
from danlu.metrics.entities import check_tokens
from danlu.metrics.precision_recall import of_labels
from danlu.metrics.tally import Named, Numbers, Tally, by_sums, check_pairs, share
from danlu.recipe import Choice
from danlu.ticks import ticking


class TokenLabels(Choice):
    """A label each token: gold and prediction are the labels of a sentence."""

    labels: tuple[str, ...] | None = None
    """The labels there are, so that any other is an error; by default those of gold and prediction."""

    def tally(self, gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> Tally:
        """Figures ``accuracy`` (of tokens), ``micro.…`` (all equal to it), ``macro.…``, ``label.NAME.…``.

        Raises:
            InputError: there is no item, lengths differ, or an item has an unknown label.
        """
        check_pairs(gold, predicted)
        check_tokens(gold, predicted)
        for side, sentences in (("gold", gold), ("predicted", predicted)):
            check_labels(sentences, self.labels, side=side)
        labels = sorted({label for sentence in (*gold, *predicted) for label in sentence})
        place_of, count = {label: place for place, label in enumerate(labels)}, len(labels)
        sums_NS = np.zeros((len(gold), 3 * count))
        for item, (right, answer) in enumerate(ticking(zip(gold, predicted, strict=True))):
            for one, other in zip(right, answer, strict=True):
                if one == other:
                    sums_NS[item, place_of[one]] += 1
                sums_NS[item, count + place_of[other]] += 1
                sums_NS[item, 2 * count + place_of[one]] += 1

        def figures(sums_BS: Numbers) -> Named:
            right_BL, predicted_BL, gold_BL = (sums_BS[:, part * count : (part + 1) * count] for part in range(3))
            return {"accuracy": share(right_BL.sum(1), gold_BL.sum(1)),
                    **of_labels(labels, right_BL, predicted_BL, gold_BL)}  # fmt: skip

        return by_sums(sums_NS, figures)

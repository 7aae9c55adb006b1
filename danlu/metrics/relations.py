"""Metrics of relations: of those that are found the F1, where one label says that there is none.

Axes: B choices of items, N items, L labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from danlu.errors import InputError, suggestion
from danlu.metrics.classification import check_labels
from danlu.metrics.precision_recall import of_labels
from danlu.metrics.tally import Named, Numbers, Tally, by_sums, check_pairs, share
from danlu.recipe import Choice


class Relations(Choice):
    """One label an item, one of which may say that there is no relation."""

    labels: tuple[str, ...] | None = None
    """The labels there are, so that any other is an error; by default those of gold and prediction."""
    none: str | None = None
    """The label of no relation."""

    def tally(self, gold: Sequence[str], predicted: Sequence[str]) -> Tally:
        """Figures ``micro.…``, ``macro.…``, ``label.NAME.…`` of the labels but ``none``, as TACRED's are (Zhang et al.
        2017); ``accuracy`` of all. Where all labels are relations, ``micro.…`` all equal it.

        Raises:
            InputError: there is no item, lengths differ, or an item has an unknown label.
        """
        check_pairs(gold, predicted)
        check_labels([[label] for label in gold], self.labels, side="gold")
        check_labels([[label] for label in predicted], self.labels, side="predicted")
        if self.none is not None and self.labels is not None and self.none not in self.labels:
            raise InputError(f"none: no label {self.none!r}{suggestion(self.none, self.labels)}")
        labels = sorted({*gold, *predicted} - {self.none})
        place_of = {label: place for place, label in enumerate(labels)}
        count = len(labels)
        sums_NS = np.zeros((len(gold), 3 * count + 2))
        for item, (right, answer) in enumerate(zip(gold, predicted, strict=True)):
            for part, chosen in enumerate(([right] if right == answer else [], [answer], [right])):
                sums_NS[item, [part * count + place_of[label] for label in chosen if label != self.none]] = 1
            sums_NS[item, -2:] = right == answer, 1

        def figures(sums_BS: Numbers) -> Named:
            right_BL, predicted_BL, gold_BL = (sums_BS[:, part * count : (part + 1) * count] for part in range(3))
            accuracy = share(sums_BS[:, -2], sums_BS[:, -1])
            return {"accuracy": accuracy, **of_labels(labels, right_BL, predicted_BL, gold_BL)}

        notes = {} if self.none is None else {"none": f"{self.none!r} counts as no relation, in accuracy alone"}
        return by_sums(sums_NS, figures, notes)

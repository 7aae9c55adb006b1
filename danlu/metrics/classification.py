"""Metrics of classification: accuracy, precision, recall, F1, Matthews' correlation, the confusion matrix.

Equal to scikit-learn with ``zero_division=0``. Axes: B choices of items, N items, C pairs of a gold and a predicted
label that occur, L labels.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from danlu.errors import InputError, shown, suggestion
from danlu.metrics.precision_recall import of_labels
from danlu.metrics.tally import Named, Numbers, Tally, by_sums, check_pairs, share
from danlu.recipe import Choice
from danlu.ticks import ticking


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often each gold label (row) was predicted as each label (column)."""

    labels: tuple[str, ...]
    counts_LL: NDArray[np.int64]


class Classification(Choice):
    """One label an item: gold and prediction are labels."""

    labels: tuple[str, ...] | None = None
    """The labels there are, so that any other is an error; by default those of gold and prediction."""
    positive: str | None = None
    """Of two labels the one that is looked for: its precision, recall and F1 stand without a prefix too."""

    def tally(self, gold: Sequence[str], predicted: Sequence[str]) -> Tally:
        """Figures ``accuracy``, ``matthews``, ``micro.…``, ``macro.…``, ``label.NAME.…``; with ``positive`` also
        ``precision``, ``recall``, ``f1``.

        ``micro.…`` all equal the accuracy, as every item has one label. Matthews' correlation is of any number of
        labels (Gorodkin 2004), and 0 where gold or prediction has one label only.

        Raises:
            InputError: there is no item, lengths differ, or an item has an unknown label.
        """
        check_pairs(gold, predicted)
        check_labels([[label] for label in gold], self.labels, side="gold")
        check_labels([[label] for label in predicted], self.labels, side="predicted")
        labels = sorted({*gold, *predicted})
        if self.positive is not None and self.positive not in (self.labels or labels):
            raise InputError(f"positive: no label {self.positive!r}{suggestion(self.positive, self.labels or labels)}")
        pairs_C2, cells_N = np.unique(
            np.stack([_places(gold, labels), _places(predicted, labels)], axis=1), axis=0, return_inverse=True
        )
        cells_N = cells_N.reshape(-1)
        one_hot_LL = np.eye(len(labels))
        gold_CL, predicted_CL = one_hot_LL[pairs_C2[:, 0]], one_hot_LL[pairs_C2[:, 1]]

        def figures(times_BN: Numbers) -> Named:
            counts_BC = np.stack([np.bincount(cells_N, times_N, len(pairs_C2)) for times_N in times_BN])
            right_BL = counts_BC @ (gold_CL * predicted_CL)
            predicted_BL, gold_BL = counts_BC @ predicted_CL, counts_BC @ gold_CL
            by_label = of_labels(labels, right_BL, predicted_BL, gold_BL)
            accuracy = share(right_BL.sum(1), gold_BL.sum(1))
            found = {"accuracy": accuracy, "matthews": _matthews(right_BL, predicted_BL, gold_BL)}
            if self.positive in labels:
                for name in ("precision", "recall", "f1"):
                    found[name] = by_label[f"label.{self.positive}.{name}"]
            return {**found, **by_label}

        return Tally(len(gold), figures)


class MultiLabel(Choice):
    """Any number of labels an item, none too: gold and prediction are collections of labels."""

    labels: tuple[str, ...] | None = None
    """The labels there are, so that any other is an error; by default those of gold and prediction."""

    def tally(self, gold: Sequence[Collection[str]], predicted: Sequence[Collection[str]]) -> Tally:
        """Figures ``accuracy`` (of items whose labels are all right and complete), ``micro.…``, ``macro.…``,
        ``label.NAME.…``.

        Raises:
            InputError: there is no item, lengths differ, or an item has an unknown label.
        """
        check_pairs(gold, predicted)
        for side, all_sets in (("gold", gold), ("predicted", predicted)):
            for number, labels_of in enumerate(all_sets, 1):
                if isinstance(labels_of, str):
                    raise InputError(f"item {number}: the {side} labels are the text {shown(labels_of)!r}, not a list")
            check_labels(all_sets, self.labels, side=side)
        labels = sorted({label for each in (*gold, *predicted) for label in each})
        count = len(labels)
        sums_NS = np.zeros((len(gold), 3 * count + 2))
        place_of = {label: place for place, label in enumerate(labels)}
        for item, (right, answer) in enumerate(ticking(zip(gold, predicted, strict=True))):
            gold_set, answer_set = set(right), set(answer)
            for part, chosen in enumerate((gold_set & answer_set, answer_set, gold_set)):
                sums_NS[item, [part * count + place_of[label] for label in chosen]] = 1
            sums_NS[item, -2:] = gold_set == answer_set, 1

        def figures(sums_BS: Numbers) -> Named:
            right_BL, predicted_BL, gold_BL = (sums_BS[:, part * count : (part + 1) * count] for part in range(3))
            accuracy = share(sums_BS[:, -2], sums_BS[:, -1])
            return {"accuracy": accuracy, **of_labels(labels, right_BL, predicted_BL, gold_BL)}

        return by_sums(sums_NS, figures)


def confusion(gold: Sequence[str], predicted: Sequence[str]) -> Confusion:
    """The confusion matrix of all labels that occur, sorted.

    Raises:
        InputError: there is no item, or lengths differ.
    """
    check_pairs(gold, predicted)
    labels = sorted({*gold, *predicted})
    counts_LL = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(counts_LL, (_places(gold, labels), _places(predicted, labels)), 1)
    return Confusion(tuple(labels), counts_LL)


def check_labels(all_labels: Sequence[Collection[str]], known: Collection[str] | None, *, side: str) -> None:
    """Raise InputError where an item has a label that is no text or is not among ``known``."""
    for number, labels in enumerate(all_labels, 1):
        for label in labels:
            if not isinstance(label, str):
                raise InputError(f"item {number}: the {side} label must be text; got {shown(repr(label))}")
            if known is not None and label not in known:
                raise InputError(f"item {number}: unknown {side} label {shown(label)!r}{suggestion(label, known)}")


def _places(labels: Sequence[str], known: Sequence[str]) -> NDArray[np.int64]:
    place_of = {label: place for place, label in enumerate(known)}
    return np.array([place_of[label] for label in labels], dtype=np.int64)


def _matthews(right_BL: Numbers, predicted_BL: Numbers, gold_BL: Numbers) -> Numbers:
    items = gold_BL.sum(1)
    together = right_BL.sum(1) * items - (predicted_BL * gold_BL).sum(1)
    spread_gold = items**2 - (gold_BL**2).sum(1)
    spread_predicted = items**2 - (predicted_BL**2).sum(1)
    return share(together, np.sqrt(spread_gold * spread_predicted))

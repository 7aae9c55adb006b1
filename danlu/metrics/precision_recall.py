"""Precision, recall and F1 from counts: of each label, pooled (micro) and as the mean over labels (macro).

Axes: B choices of items, L labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from danlu.metrics.tally import Named, Numbers, share


def of_labels(labels: Sequence[str], right_BL: Numbers, predicted_BL: Numbers, gold_BL: Numbers) -> Named:
    """``micro.…``, ``macro.…`` and ``label.NAME.…`` with ``precision``, ``recall`` and ``f1``.

    The mean is over the labels that gold or prediction has; without any it is 0. F1 without a gold and a predicted
    one is 0 too: scikit-learn's values with ``zero_division=0``.
    """
    there_BL = (predicted_BL + gold_BL) > 0
    each = of_counts(right_BL, predicted_BL, gold_BL)
    found = {
        f"micro.{name}": values
        for name, values in of_counts(right_BL.sum(1), predicted_BL.sum(1), gold_BL.sum(1)).items()
    }
    for name, values_BL in each.items():
        found[f"macro.{name}"] = share((values_BL * there_BL).sum(1), there_BL.sum(1).astype(np.float64))
    for place, label in enumerate(labels):
        for name, values_BL in each.items():
            found[f"label.{label}.{name}"] = np.where(there_BL[:, place], values_BL[:, place], np.nan)
    return found


def of_counts(right: Numbers, predicted: Numbers, gold: Numbers) -> Named:
    """``precision``, ``recall`` and ``f1`` of counts of any one shape."""
    return {
        "precision": share(right, predicted),
        "recall": share(right, gold),
        "f1": share(2 * right, predicted + gold),
    }

"""F1 of relations is scikit-learn's over the labels but that of no relation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from danlu.errors import InputError
from danlu.metrics.relations import Relations
from danlu.metrics.tally import overall

LABELS = ("none", "a", "b", "c")
ITEMS = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1, max_size=30)


@given(ITEMS)
def test_is_scikit_learns(items: list[tuple[str, str]]) -> None:
    gold, predicted = map(list, zip(*items, strict=True))
    found = overall(Relations(labels=LABELS, none="none").tally(gold, predicted))
    there = sorted({*gold, *predicted} - {"none"})
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(gold, predicted))
    for average in ("micro", "macro"):
        wanted = metrics.precision_recall_fscore_support(
            gold, predicted, labels=there, average=average, zero_division=0
        )[:3]
        got = [found[f"{average}.{name}"] for name in ("precision", "recall", "f1")]
        np.testing.assert_allclose(got, np.nan_to_num(np.array(wanted if there else (0, 0, 0), dtype=float)))
    each = (
        metrics.precision_recall_fscore_support(gold, predicted, labels=there, average=None, zero_division=0)[2]
        if there
        else []
    )
    np.testing.assert_allclose([found[f"label.{label}.f1"] for label in there], each)


def test_without_a_label_of_no_relation_micro_is_the_accuracy() -> None:
    found = overall(Relations().tally(["a", "b", "b"], ["a", "a", "b"]))
    assert found["micro.f1"] == found["accuracy"] == pytest.approx(2 / 3)


def test_an_unknown_label_is_refused() -> None:
    with pytest.raises(InputError, match="unknown predicted label 'd'"):
        Relations(labels=LABELS).tally(["a"], ["d"])
    with pytest.raises(InputError, match="none: no label 'no'"):
        Relations(labels=LABELS, none="no").tally(["a"], ["a"])

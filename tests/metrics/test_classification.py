"""Metrics of classification against scikit-learn on random labels, and their edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics
from sklearn.preprocessing import MultiLabelBinarizer

from danlu.errors import InputError
from danlu.metrics.classification import Classification, MultiLabel, confusion
from danlu.metrics.tally import overall

LABELS = st.sampled_from(["neg", "pos", "正面", "x.y"])
PAIRS = st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=30)
SETS = st.sets(LABELS)


@given(PAIRS)
def test_equal_to_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    gold, predicted = [one for one, _ in pairs], [other for _, other in pairs]
    figures = overall(Classification().tally(gold, predicted))
    labels = sorted({*gold, *predicted})
    assert figures["accuracy"] == pytest.approx(metrics.accuracy_score(gold, predicted))
    if len(labels) > 1:  # of one label scikit-learn warns that its correlation means nothing
        assert figures["matthews"] == pytest.approx(metrics.matthews_corrcoef(gold, predicted))
    for average in ("micro", "macro"):
        expected = metrics.precision_recall_fscore_support(gold, predicted, average=average, zero_division=0)
        for name, value in zip(("precision", "recall", "f1"), expected, strict=False):
            assert figures[f"{average}.{name}"] == pytest.approx(value)
    by_label = metrics.precision_recall_fscore_support(gold, predicted, labels=labels, zero_division=0)
    for name, values in zip(("precision", "recall", "f1"), by_label, strict=False):
        assert [figures[f"label.{label}.{name}"] for label in labels] == pytest.approx(list(values))


@given(PAIRS)
def test_the_confusion_matrix_is_scikit_learns(pairs: list[tuple[str, str]]) -> None:
    gold, predicted = [one for one, _ in pairs], [other for _, other in pairs]
    found = confusion(gold, predicted)
    assert found.labels == tuple(sorted({*gold, *predicted}))
    if len(found.labels) == 1:  # scikit-learn warns
        assert found.counts_LL.tolist() == [[len(pairs)]]
        return
    np.testing.assert_array_equal(found.counts_LL, metrics.confusion_matrix(gold, predicted, labels=found.labels))


@given(st.lists(st.tuples(SETS, SETS), min_size=1, max_size=20))
def test_many_labels_are_equal_to_scikit_learn(pairs: list[tuple[set[str], set[str]]]) -> None:
    gold, predicted = [one for one, _ in pairs], [other for _, other in pairs]
    figures = overall(MultiLabel().tally(gold, predicted))
    labels = sorted({label for each in (*gold, *predicted) for label in each})
    assert figures["accuracy"] == sum(one == other for one, other in pairs) / len(pairs)
    if not labels:
        assert figures["micro.f1"] == figures["macro.f1"] == 0
    if len(labels) < 2:  # scikit-learn takes one column for the classes 0 and 1
        return
    binary = MultiLabelBinarizer(classes=labels)
    gold_NL, predicted_NL = binary.fit_transform(gold), binary.fit_transform(predicted)
    for average in ("micro", "macro"):
        expected = metrics.precision_recall_fscore_support(gold_NL, predicted_NL, average=average, zero_division=0)
        for name, value in zip(("precision", "recall", "f1"), expected, strict=False):
            assert figures[f"{average}.{name}"] == pytest.approx(value)
    by_label = metrics.precision_recall_fscore_support(gold_NL, predicted_NL, zero_division=0)
    for name, values in zip(("precision", "recall", "f1"), by_label, strict=False):
        assert [figures[f"label.{label}.{name}"] for label in labels] == pytest.approx(list(values))


def test_the_label_that_is_looked_for_has_figures_without_a_prefix() -> None:
    gold, predicted = ["yes", "no", "yes", "no"], ["yes", "yes", "no", "no"]
    figures = overall(Classification(positive="yes").tally(gold, predicted))
    expected = metrics.precision_recall_fscore_support(gold, predicted, pos_label="yes", average="binary")
    assert (figures["precision"], figures["recall"], figures["f1"]) == expected[:3]
    never = Classification(positive="maybe", labels=("yes", "no", "maybe")).tally(gold, predicted)
    assert "f1" not in overall(never), "neither gold nor prediction has it"


@pytest.mark.parametrize(
    ("gold", "predicted", "name", "value"),
    [
        (["a", "a"], ["a", "a"], "matthews", 0.0),  # one class only
        (["a", "b"], ["a", "a"], "matthews", 0.0),  # one class predicted
        (["a", "b"], ["a", "a"], "label.b.precision", 0.0),  # a label only in gold
        (["a", "a"], ["a", "b"], "label.b.recall", 0.0),  # a label only predicted
        (["a", "b"], ["b", "a"], "matthews", -1.0),
    ],
)
def test_edges_have_a_value(gold: list[str], predicted: list[str], name: str, value: float) -> None:
    assert overall(Classification().tally(gold, predicted))[name] == value


def test_an_unknown_label_is_named_with_its_item() -> None:
    metric = Classification(labels=("positive", "negative"))
    with pytest.raises(InputError, match=r"^item 2: unknown gold label 'positve'; did you mean 'positive'\?"):
        metric.tally(["positive", "positve"], ["positive", "negative"])
    with pytest.raises(InputError, match=r"^item 1: unknown predicted label 'other'"):
        metric.tally(["positive"], ["other"])
    with pytest.raises(InputError, match=r"^item 1: the gold label must be text; got 1$"):
        Classification().tally([1], ["1"])  # type: ignore[list-item]
    with pytest.raises(InputError, match=r"^positive: no label 'yes'"):
        Classification(positive="yes").tally(["a"], ["a"])
    with pytest.raises(InputError, match=r"^item 2: the predicted labels are the text 'b', not a list$"):
        MultiLabel().tally([["a"], ["b"]], [["a"], "b"])
    with pytest.raises(InputError, match=r"^item 2: unknown predicted label 'c'"):
        MultiLabel(labels=("a", "b")).tally([["a"], ["b"]], [["a"], ["b", "c"]])

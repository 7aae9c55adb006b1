"""Labels of tokens against scikit-learn over all tokens together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from danlu.errors import InputError
from danlu.metrics.tally import overall
from danlu.metrics.token_labels import TokenLabels

SENTENCES = st.lists(
    st.lists(st.tuples(st.sampled_from("NVD"), st.sampled_from("NVD")), min_size=1, max_size=8), min_size=1, max_size=6
)


@given(SENTENCES)
def test_equal_to_scikit_learn(sentences: list[list[tuple[str, str]]]) -> None:
    gold, predicted = ([[pair[side] for pair in each] for each in sentences] for side in (0, 1))
    figures = overall(TokenLabels().tally(gold, predicted))
    right, answers = ([label for each in side for label in each] for side in (gold, predicted))
    assert figures["accuracy"] == figures["micro.f1"] == pytest.approx(accuracy_score(right, answers))
    labels = sorted({*right, *answers})
    for average in ("macro", None):
        theirs = f1_score(right, answers, labels=labels, average=average, zero_division=0)
        if average:
            assert figures["macro.f1"] == pytest.approx(theirs)
        else:
            assert [figures[f"label.{label}.f1"] for label in labels] == pytest.approx(theirs.tolist())


@pytest.mark.parametrize(
    ("gold", "predicted", "reason"),
    [([["N"]], [["N", "V"]], "item 1: 2 predicted tags for 1 gold ones"), ([["X"]], [["N"]], "unknown gold label 'X'"),
     ([], [], "there is no item")],
)  # fmt: skip
def test_bad_items_are_named(gold: list[list[str]], predicted: list[list[str]], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        TokenLabels(labels=("N", "V")).tally(gold, predicted)

"""Keywords against scikit-learn's micro and samples averages, and their edges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support
from sklearn.preprocessing import MultiLabelBinarizer

from danlu.errors import InputError
from danlu.metrics.keywords import Keywords
from danlu.metrics.tally import overall

SETS = st.sets(st.sampled_from(["graph", "染色", "模型", "pH"]))


@given(st.lists(st.tuples(SETS, SETS), min_size=1, max_size=12))
def test_equal_to_scikit_learn(pairs: list[tuple[set[str], set[str]]]) -> None:
    gold, predicted = [list(one) for one, _ in pairs], [list(other) for _, other in pairs]
    figures = overall(Keywords().tally(gold, predicted))
    binary = MultiLabelBinarizer(classes=["graph", "染色", "模型", "pH"])
    sides = binary.fit_transform(gold), binary.fit_transform(predicted)
    for average in ("micro", "samples"):
        expected = precision_recall_fscore_support(*sides, average=average, zero_division=0)
        found = [figures[f"{average}.{name}"] for name in ("precision", "recall", "f1")]
        assert found == pytest.approx(list(expected[:3]))


def test_case_width_spaces_and_repeats_do_not_matter() -> None:
    figures = overall(Keywords().tally([["BERT", "ｐＨ", "图"]], [[" bert", "pH ", "ph", ""]]))
    assert (figures["micro.precision"], figures["micro.recall"]) == (1.0, pytest.approx(2 / 3))


@pytest.mark.parametrize("keywords", ["graph; 模型", ["graph", 3]])
def test_what_is_no_list_of_texts_is_named_with_its_item(keywords: list[str]) -> None:
    with pytest.raises(InputError, match=r"^item 2: the predicted keywords must be a list of texts$"):
        Keywords().tally([["a"], ["b"]], [["a"], keywords])

"""Rankings: nDCG is scikit-learn's, recall and reciprocal rank are their definitions, in plain words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from danlu.errors import InputError
from danlu.metrics.retrieval import Retrieval
from danlu.metrics.tally import overall

TEXTS = [f"text {number}" for number in range(14)]
RANKINGS = st.permutations(TEXTS)
RIGHT = st.lists(st.sampled_from(TEXTS), min_size=1, max_size=6, unique=True)


@given(st.lists(st.tuples(RIGHT, RANKINGS), min_size=1, max_size=6), st.integers(1, 14))
def test_all_figures(items: list[tuple[list[str], list[str]]], depth: int) -> None:
    gold, ranked = map(list, zip(*items, strict=True))
    found = overall(Retrieval(recall=(1, 3), depth=depth).tally(gold, ranked))
    relevance = [[text in right for text in TEXTS] for right in gold]
    scores = [[-order.index(text) for text in TEXTS] for order in ranked]
    assert found[f"ndcg@{depth}"] == pytest.approx(metrics.ndcg_score(relevance, scores, k=depth))
    for k in (1, 3):
        each = [len({*order[:k]} & {*right}) / len(right) for right, order in items]
        assert found[f"recall@{k}"] == pytest.approx(np.mean(each))
    ranks = [min(order.index(text) + 1 for text in right) for right, order in items]
    assert found[f"mrr@{depth}"] == pytest.approx(np.mean([1 / rank if rank <= depth else 0 for rank in ranks]))


def test_a_ranking_may_be_short() -> None:
    found = overall(Retrieval().tally([["a", "b"]], [["x", "b"]]))
    assert found["recall@10"] == 0.5 and found["mrr@10"] == 0.5
    assert found["ndcg@10"] == pytest.approx((1 / np.log2(3)) / (1 + 1 / np.log2(3)))


@pytest.mark.parametrize(("gold", "ranked", "reason"), [
    ([[]], [["a"]], "item 1: no text is right"), ([["a"]], [["b", "b"]], "item 1: the ranking has a text twice: 'b'"),
    (["a"], [["a"]], "item 1: the gold texts are the text 'a', not a list"), ([], [], "no item"),
])  # fmt: skip
def test_what_is_no_ranking_is_refused(gold: list[list[str]], ranked: list[list[str]], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        Retrieval().tally(gold, ranked)

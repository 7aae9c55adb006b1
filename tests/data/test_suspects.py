"""Labels that are likely wrong: planted ones of a made-up data set, and the definition of confident learning."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.data.suspects import suspects
from danlu.errors import InputError

KNOWN = ("a", "b", "c")


def test_planted_errors_are_found_by_models_that_have_not_seen_them() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    model_selection = pytest.importorskip("sklearn.model_selection")
    random = np.random.default_rng(1)
    right_N = random.integers(0, 3, 300)
    points_ND = np.eye(3)[right_N] * 5 + random.normal(size=(300, 3))
    wrong = set(random.permutation(300)[:20].tolist())
    labels = [KNOWN[(label + 1) % 3 if item in wrong else label] for item, label in enumerate(right_N)]
    model = linear_model.LogisticRegression()
    probabilities_NL = model_selection.cross_val_predict(model, points_ND, labels, cv=5, method="predict_proba")
    found = suspects(labels, KNOWN, probabilities_NL)
    first = {each.item for each in found[:20]}
    assert len(first & wrong) >= 18
    assert all(KNOWN[right_N[each.item]] == each.instead for each in found[:20] if each.item in wrong)


@given(st.integers(1, 30), st.integers(0, 9))
def test_suspects_are_those_of_the_definition(count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    probabilities_NL = random.dirichlet([1, 1, 1], count)
    given_N = random.integers(0, 3, count)
    expected = set()
    for item in range(count):
        confident = []
        for label in range(3):
            own = [probabilities_NL[other, label] for other in range(count) if given_N[other] == label]
            if own and probabilities_NL[item, label] >= np.mean(own) - 1e-12:
                confident.append((probabilities_NL[item, label], label))
        if confident and max(confident)[1] != given_N[item]:
            expected.add(item)
    found = suspects([KNOWN[label] for label in given_N], KNOWN, probabilities_NL)
    assert {each.item for each in found} == expected
    assert [each.margin for each in found] == sorted((each.margin for each in found), reverse=True)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match=r"probabilities must be 1 × 3, examples by labels; got \(1, 2\)"):
        suspects(["a"], KNOWN, np.ones((1, 2)))
    with pytest.raises(InputError, match="the label 'd' is none of those"):
        suspects(["d"], KNOWN, np.ones((1, 3)))

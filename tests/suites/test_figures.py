"""Figures of questions against their definitions and lm-evaluation-harness's own functions."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.data.example import Place
from danlu.suites.chosen import Arc, BoolQ
from danlu.suites.figures import Answered, by_group, figures, line_of
from danlu.suites.pairs import Blimp
from danlu.suites.question import Question
from danlu.suites.request import Request, Score
from danlu.suites.written import Lambada

metrics = pytest.importorskip("lm_eval.api.metrics", reason="lm-evaluation-harness is not installed")
PLACE = Place(Path("a.jsonl"), 7)


def answered(nats: list[float], gold: int, *, choices: list[str] | None = None, group: str = "") -> Answered:
    texts = tuple(choices or [str(number) for number in range(len(nats))])
    groups = {"phenomenon": group} if group else {}
    question = Question(PLACE, tuple(Request("c", f" {text}") for text in texts), texts, gold, groups)
    return Answered(question, tuple(Score(nat, greedy=nat > -1, cut=nat < -90) for nat in nats))


ONE = st.tuples(
    st.lists(st.floats(-100, -0.1), min_size=3, max_size=3), st.integers(0, 2),
    st.lists(st.text(st.sampled_from("a话é"), min_size=1, max_size=6), min_size=3, max_size=3),
)  # fmt: skip


@settings(max_examples=25)  # each draws three intervals
@given(st.lists(ONE, min_size=2, max_size=8))
def test_choices_are_taken_and_averaged_as_the_harness_does(items: list[tuple[list[float], int, list[str]]]) -> None:
    """The rules of ``ConfigurableTask.process_results`` of version 0.4.13, written down again."""
    found = figures([answered(nats, gold, choices=texts) for nats, gold, texts in items], Arc(), seed=1)
    lengths = {
        "acc": lambda text: 1.0, "acc_norm": lambda text: float(len(text)),
        "acc_bytes": lambda text: float(len(text.encode("utf-8"))),
    }  # fmt: skip
    for name, length in lengths.items():
        right = [
            float(np.argmax(np.array(nats) / np.array([length(text) for text in texts])) == gold)
            for nats, gold, texts in items
        ]
        mean = sum(right) / len(right)
        assert found[name] == pytest.approx(mean, abs=1e-6)
        assert found[f"{name}_stderr"] == pytest.approx(metrics.mean_stderr(right), abs=1e-6)
        low, high = found[f"{name}_95"]
        assert low <= found[name] <= high
    assert found["chance"] == pytest.approx(1 / 3, abs=1e-6)


def test_what_guessing_gives_stands_beside() -> None:
    items = [answered([-1.5, -2], 1), answered([-1.5, -2], 1), answered([-3, -2, -9], 0), answered([-3, -2, -9], 1)]
    found = figures(items, BoolQ(), seed=1)
    assert found["chance"] == pytest.approx((1 / 2 + 1 / 2 + 1 / 3 + 1 / 3) / 4, abs=1e-6)
    assert found["majority"] == 0.75
    assert "acc_norm" not in found


def test_equally_likely_choices_are_counted() -> None:
    """A model without an opinion gets all minimal pairs right, for the first of equals is taken."""
    items = [answered([-2, -2], 0, group="a"), answered([-2, -3], 0, group="b"), answered([-3, -3], 0, group="b")]
    found = figures(items, Blimp(), seed=1)
    assert (found["acc"], found["ties"]) == (1.0, 2)
    assert "majority" not in found
    groups = by_group(items, Blimp(), seed=1)["phenomenon"]
    assert list(groups) == ["a", "b"]
    assert (groups["a"]["items"], groups["b"]["ties"]) == (1, 1)
    assert "acc_stderr" not in groups["a"]  # nothing is known of one


def test_words_are_written_or_not_and_have_a_perplexity() -> None:
    items = [answered([-0.5], 0), answered([-3.0], 0), answered([-100.0], 0)]
    found = figures(items, Lambada(), seed=1)
    assert found["acc"] == pytest.approx(1 / 3, abs=1e-6)
    assert found["perplexity"] == pytest.approx(math.exp((0.5 + 3 + 100) / 3))
    assert found["cut"] == 1
    assert "chance" not in found


def test_a_line_says_what_was_asked_and_chosen() -> None:
    assert line_of(answered([-2.0, -1.5], 0, choices=["x", "y"], group="g"), Blimp()) == {
        "line": 7, "phenomenon": "g", "context": "c", "choices": ["x", "y"], "gold": 0, "chosen": 1, "right": False,
        "log_likelihoods": [-2.0, -1.5],
    }  # fmt: skip
    assert line_of(answered([-0.5], 0), Lambada())["greedy"] is True
    by_length = line_of(answered([-2.0, -2.5], 1, choices=["xxxx", "话话话话话"]), Arc())
    assert (by_length["chosen"], by_length["chosen_by"]) == (0, {"acc_norm": 0, "acc_bytes": 1})

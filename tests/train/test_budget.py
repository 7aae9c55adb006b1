"""Budgets: whichever limit comes first, and never a step more or less than it says."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.errors import RecipeError
from danlu.recipe import build
from danlu.train.budget import Budget


def steps(budget: Budget, *, tokens_per_step: int = 100, steps_per_epoch: float = 12.5) -> int | None:
    return budget.steps_at_most(tokens_per_step=tokens_per_step, steps_per_epoch=steps_per_epoch)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"steps": 7}, 7), ({"tokens": 100}, 1), ({"tokens": 101}, 2), ({"tokens": 1}, 1), ({"epochs": 2}, 25),
        ({"epochs": 1}, 13), ({"epochs": 0.001}, 1), ({"minutes": 1}, None), ({"minutes": 1, "steps": 7}, 7),
        ({"steps": 7, "tokens": 300}, 3), ({"steps": 7, "tokens": 300, "epochs": 0.1}, 2),
        ({"steps": 2, "epochs": 9}, 2),
    ],
)  # fmt: skip
def test_whichever_comes_first(settings: dict[str, float], expected: int | None) -> None:
    assert steps(build(Budget, settings, key="budget")) == expected


@given(epochs=st.integers(1, 50), rows=st.integers(1, 5000), batch=st.integers(1, 64))
def test_whole_epochs_end_with_the_step_that_ends_them(epochs: int, rows: int, batch: int) -> None:
    assert steps(Budget(epochs=epochs), steps_per_epoch=rows / batch) == ceil(Fraction(epochs * rows, batch))


@pytest.mark.parametrize(
    ("minutes", "per_step", "spent", "expected"),
    [(1, 0.5, 0, 120), (1, 0.5, 30, 60), (1, 7, 0, 8), (0.01, 60, 0, 1), (1, 1, 600, 1), (None, 1, 0, None)],
)
def test_minutes_are_steps_that_fit(minutes: float | None, per_step: float, spent: float, expected: int | None) -> None:
    assert Budget(minutes=minutes, steps=10**9).steps_in(per_step, spent=spent) == expected


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({}, "pretrain.budget: needs one of minutes, tokens, steps, epochs"),
        ({"minutes": None}, "pretrain.budget: needs one of minutes, tokens, steps, epochs"),
        ({"steps": 0}, "pretrain.budget.steps must be at least 1; got 0"),
        ({"tokens": -5}, "pretrain.budget.tokens must be at least 1; got -5"),
        ({"minutes": 0}, "pretrain.budget.minutes must be greater than 0; got 0"),
        ({"epochs": -1}, "pretrain.budget.epochs must be greater than 0; got -1"),
        ({"steps": 1.5}, "pretrain.budget.steps must be a whole number; got 1.5"),
        ({"hours": 1}, "pretrain.budget.hours: unknown key"),
    ],
)
def test_a_budget_that_says_nothing_is_refused(settings: dict[str, float], line: str) -> None:
    with pytest.raises(RecipeError) as caught:
        build(Budget, settings, key="pretrain.budget")
    assert str(caught.value).startswith(line)

"""Mixtures that follow each other: which periods can be, and what they say of themselves."""

from __future__ import annotations

from typing import Any

import pytest

from danlu.corpus.curriculum import Curriculum
from danlu.errors import RecipeError
from danlu.recipe import build_choice

ALIKE = {"use": "temperature"}


def curriculum(*periods: dict[str, Any]) -> Curriculum:
    made = build_choice("mixture", {"use": "curriculum", "periods": periods}, key="pretrain.mixture")
    assert isinstance(made, Curriculum)
    return made


@pytest.mark.parametrize(
    ("untils", "message"),
    [
        ((0.6, 0.5, None), r": periods.1.until must be above 0.6, where the period before ends; got 0.5$"),
        ((200, 100, 1), r": periods.1.until must be above 200, where the period before ends; got 100$"),
        ((None, None), r": periods.0.until must be a share of the steps below 1, or a number of steps .*; got none$"),
        ((1, None), r": periods.0.until must be a share of the steps below 1, or a number of steps above 1; got 1$"),
        ((0.5, 0.9), r": periods.1.until must be 1, or left out, for the last period ends with the .*; got 0.9$"),
        ((2.5, None), r".periods.0: until must be below 1, or a whole number of steps; got 2.5$"),
        ((0, None), r".periods.0.until must be greater than 0; got 0$"),
        (("soon", None), r".periods.0.until must be .*number; got 'soon'$"),
        ((True, None), r".periods.0.until must be .*number; got true$"),
    ],
)
def test_ends_that_do_not_follow_each_other(untils: tuple[Any, ...], message: str) -> None:
    with pytest.raises(RecipeError, match=f"^pretrain.mixture{message}"):
        curriculum(*({"until": until, "mixture": ALIKE} for until in untils))


@pytest.mark.parametrize(
    ("periods", "message"),
    [
        ([], r".periods must be a list of at least 1; got "),
        ([{"untill": 0.5, "mixture": ALIKE}], r".periods.0.untill: unknown key; did you mean 'until'"),
        ([{"until": 0.5}], r".periods.0.mixture is required"),
        (
            [{"mixture": {"use": "curriculum", "periods": [{"mixture": ALIKE}]}}],
            r".periods.0.mixture.use: unknown proportions 'curriculum' \(choices: weights, temperature, unimax\)$",
        ),
        (
            [{"until": 9, "mixture": {"use": "weights", "parts": {"a": {"epochs": 1}}}}, {"mixture": ALIKE}],
            r": periods.0.mixture: one of its parts must have a weight, to fill the period$",
        ),
    ],
)
def test_what_is_no_curriculum(periods: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(RecipeError, match=f"^pretrain.mixture{message}"):
        curriculum(*periods)


def test_periods_end_with_shares_or_numbers_of_the_steps() -> None:
    made = curriculum({"until": 30, "mixture": ALIKE}, {"until": 0.7, "mixture": ALIKE}, {"mixture": ALIKE})
    assert [period.end(90) for period in made.periods[:2]] == [30, 63]


@pytest.mark.parametrize(
    ("until", "mixture", "counted"),
    [(9, ALIKE, False), (0.9, ALIKE, True), (9, {**ALIKE, "max_epochs": 2}, True), (9, "unimax", True)],
)
def test_shares_of_the_steps_and_epochs_need_their_number(until: float, mixture: Any, counted: bool) -> None:
    assert curriculum({"until": until, "mixture": ALIKE}, {"mixture": mixture}).counted == counted

"""Win rates against scipy's Wilson interval and by coverage; strengths against choix."""

from __future__ import annotations

import choix
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse.csgraph import connected_components
from scipy.stats import binomtest

from danlu.metrics.resampling import intervals
from danlu.metrics.tally import overall
from danlu.rate.preferences import elo, likeliest, linked, strengths, win_rate


@given(wins=st.lists(st.booleans(), min_size=1, max_size=40))
def test_one_rating_a_prompt_gives_wilsons_interval(wins: list[bool]) -> None:
    ours = win_rate([float(win) for win in wins], list(range(len(wins))))
    theirs = binomtest(sum(wins), len(wins)).proportion_ci(method="wilson")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert (ours.wins, ours.ties, ours.losses) == (sum(wins), 0, len(wins) - sum(wins))


@given(points=st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=20), times=st.integers(2, 4))
def test_raters_who_always_agree_count_once(points: list[float], times: int) -> None:
    """Unless there are ties: then n may not be more than the ratings, of which there are more."""
    if 0.5 in points:
        return
    once = win_rate(points, list(range(len(points))))
    often = win_rate(points * times, list(range(len(points))) * times)
    assert (often.low, often.high) == pytest.approx((once.low, once.high))


def test_nothing_but_ties_is_a_half_with_a_width() -> None:
    found = win_rate([0.5] * 10, list(range(10)))
    assert found.rate == 0.5 and found.ties == 10
    assert found.low < 0.3 and found.high > 0.7


@pytest.mark.parametrize("rate", [0.5, 0.8])
def test_the_interval_holds_the_truth_as_often_as_it_says(rate: float) -> None:
    """Prompts of which each has a rate of its own, three raters each: 95 of 100, within what chance allows."""
    generator = np.random.default_rng(1)
    prompts = np.repeat(np.arange(40), 3)
    inside, draws = 0, 1000
    for _ in range(draws):
        own = generator.beta(rate * 2, (1 - rate) * 2, size=40)[prompts]
        found = win_rate((generator.random(120) < own).astype(float), prompts.tolist())
        inside += found.low <= rate <= found.high
    assert 0.93 <= inside / draws <= 0.975


@settings(deadline=None)
@given(wins=arrays(np.float64, (4, 4), elements=st.integers(0, 30).map(float)))
def test_strengths_are_those_of_choix(wins: np.ndarray) -> None:
    """The added draws are games against a fifth model, whose strength is the zero of the others'."""
    np.fill_diagonal(wins, 0)
    games = np.zeros((5, 5))
    games[:4, :4] = wins
    games[4, :4] = games[:4, 4] = 0.5
    theirs = choix.ilsr_pairwise_dense(games, alpha=0, max_iter=10_000, tol=1e-12)
    ours = likeliest(wins[None])[0]
    assert ours == pytest.approx(theirs[:4] - theirs[4], abs=1e-5)


@given(st.integers(1, 7).flatmap(lambda count: st.tuples(
    st.just(count), st.sets(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))))))  # fmt: skip
def test_models_that_games_link_are_scipys_connected_components(models: tuple[int, set[tuple[int, int]]]) -> None:
    count, games = models
    graph = np.zeros((count, count))
    graph[[one for one, _ in games], [other for _, other in games]] = 1
    _, labels = connected_components(graph, directed=False)
    expected = {tuple(np.flatnonzero(labels == label).tolist()) for label in labels}
    found = linked(count, games)
    assert {tuple(part) for part in found} == expected and len(found) == len(expected)


def test_many_choices_at_once_are_each_their_own() -> None:
    generator = np.random.default_rng(2)
    wins = generator.integers(0, 9, size=(20, 3, 3)).astype(float)
    wins[:, range(3), range(3)] = 0
    together = likeliest(wins)
    alone = np.concatenate([likeliest(one[None]) for one in wins])
    assert together == pytest.approx(alone, abs=1e-9)


def test_a_model_that_never_lost_has_a_strength_and_an_interval() -> None:
    wins = np.zeros((30, 2, 2))
    wins[:, 0, 1] = 1
    tally = strengths(wins, ["a", "b"])
    found = overall(tally)
    assert found["a"] > 1 and found["a"] == pytest.approx(-found["b"])
    assert set(intervals(tally, seed=1)) == {"a", "b"}


def test_four_hundred_points_are_odds_of_ten() -> None:
    assert elo(0) == 1000
    assert elo(np.log(10)) - elo(0) == pytest.approx(400)

"""What becomes of metrics on their way to a picture."""

from __future__ import annotations

import math
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.evaluate.curves import (
    decimated,
    figure_chart,
    loss_chart,
    loss_range,
    rate_chart,
    reward_chart,
    series_of,
    smoothed,
    value_range,
)  # fmt: skip
from danlu.pages.chart import LEFT, Point

points = st.lists(st.floats(-100, 100), min_size=1, max_size=300).map(
    lambda values: [(float(step), value) for step, value in enumerate(values)]
)


@given(points, st.integers(1, 20))
def test_decimation_keeps_ends_extremes_and_order(original: list[Point], most: int) -> None:
    kept = decimated(original, most)
    assert len(kept) <= 2 * most + 2
    assert kept == sorted(kept)
    assert set(kept) <= set(original)
    assert (kept[0], kept[-1]) == (original[0], original[-1])
    for extreme in (min, max):
        assert extreme(y for _, y in kept) == extreme(y for _, y in original)


def test_smoothing_is_adams_corrected_mean() -> None:
    generator = random.Random(1)
    values = [generator.gauss(2, 1) for _ in range(500)]
    keep = math.exp(-1 / 10)
    result = smoothed([(float(step), value) for step, value in enumerate(values)])
    for last in (0, 1, 37, 499):
        weights = [keep ** (last - place) for place in range(last + 1)]
        mean = sum(w * v for w, v in zip(weights, values, strict=False)) / sum(weights)
        assert result[last] == (float(last), pytest.approx(mean))


@given(st.floats(-5, 5))
def test_smoothing_leaves_a_constant(value: float) -> None:
    assert all(y == pytest.approx(value) for _, y in smoothed([(float(step), value) for step in range(40)]))


def test_range_cuts_the_first_steps_and_shows_all_later_ones() -> None:
    training = [(float(step), 2 + 8 * math.exp(-step / 5)) for step in range(1, 1001)]
    heldout = [(500.0, 2.4), (1000.0, 1.9)]
    low, high = loss_range(training, smoothed(training), heldout)
    assert low < 1.9
    assert 2.4 < high < 5
    assert loss_range(training, smoothed(training), [(500.0, 9.0)])[1] > 9.0


def test_lines_without_a_value_are_left_out() -> None:
    metrics = [{"step": 1, "loss": 3.0}, {"step": 2, "loss": None}, {"step": 3, "loss": 2.0, "heldout_loss": 2.5}]
    assert series_of(metrics, "loss") == [(1.0, 3.0), (3.0, 2.0)]
    assert series_of(metrics, "heldout_loss") == [(3.0, 2.5)]


def test_no_picture_without_two_steps() -> None:
    assert loss_chart([], width=700, height=300) is None
    assert loss_chart([{"step": 1, "loss": 3.0}], width=700, height=300) is None
    assert rate_chart([{"step": 1, "loss": 3.0}, {"step": 2, "loss": 3.0}], width=700, height=300) is None


def test_rewards_below_nothing_are_in_the_picture() -> None:
    metrics = [{"step": step, "reward": -2.0 - step / 9} for step in range(1, 9)]
    metrics[-1]["heldout.reward"] = -4.0
    picture = reward_chart(metrics, width=700, height=300, title="Reward")
    assert (
        picture is not None
        and "Reward by step" in picture
        and ">dev<" in picture
        and ">-4" in picture.replace("−", "-")
    )
    assert reward_chart(metrics[:1], width=700, height=300, title="Reward") is None


def test_a_long_run_makes_a_small_picture() -> None:
    metrics = [{"step": step, "loss": 3 + math.sin(step), "lr": 1.0} for step in range(1, 30_001)]
    picture = loss_chart(metrics, width=720, height=330)
    assert picture is not None
    assert len(picture) < 25_000


@pytest.mark.parametrize("values", [[0.0, 0.0], [0.9, 0.9003], [-0.001, 0.001], [27.3, 27.3], [0.2, 0.8]])
def test_labels_of_the_axis_of_figures_have_room(values: list[float]) -> None:
    low, high = value_range(values)
    assert low <= min(values) <= max(values) <= high and (low >= 0 or min(values) < 0)
    metrics = [{"step": step, "f1": value} for step, value in enumerate(values)]
    drawn = figure_chart(metrics, "f1", width=600, height=160, title="F1")
    assert drawn is not None
    labels = re.findall(r'text-anchor="end">([^<]+)<', drawn)
    assert labels and max(map(len, labels)) * 6.9 <= LEFT - 8, labels  # pixels of a digit at this size

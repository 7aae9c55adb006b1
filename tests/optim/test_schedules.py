"""Schedules: properties that hold for any length and any settings."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.optim.schedules import Cosine, WarmupStableDecay
from danlu.recipe import Choice

shares = st.floats(0, 0.99)


def rates(schedule: Cosine | WarmupStableDecay, steps: int) -> list[float]:
    return [schedule.factor(step, steps=steps) for step in range(steps)]


@given(warmup=shares, final=st.floats(0, 1), steps=st.integers(1, 300))
def test_cosine_rises_then_falls_within_bounds(warmup: float, final: float, steps: int) -> None:
    found = rates(Cosine(warmup=warmup, final=final), steps)
    assert_rises_then_falls(found, warmup_steps=warmup * steps)
    assert min(found[int(warmup * steps) + 1 :], default=1.0) >= final - 1e-9


@given(warmup=shares, decay=st.floats(0, 1), final=st.floats(0, 1), steps=st.integers(1, 300))
def test_wsd_rises_then_falls_within_bounds(warmup: float, decay: float, final: float, steps: int) -> None:
    found = rates(WarmupStableDecay(warmup=warmup, decay=decay, final=final), steps)
    assert_rises_then_falls(found, warmup_steps=warmup * steps)


def assert_rises_then_falls(found: list[float], *, warmup_steps: float) -> None:
    assert all(0 <= rate <= 1 for rate in found)
    for step, (rate, after) in enumerate(pairwise(found)):
        if step + 1 < warmup_steps:
            assert after > rate > 0
        elif step >= warmup_steps:
            assert after <= rate + 1e-12


def test_wsd_stays_at_the_peak_then_goes_straight_down() -> None:
    found = rates(WarmupStableDecay(warmup=0.1, decay=0.5, final=0.2), 100)
    assert found[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert set(found[10:51]) == {1.0}
    assert found[75] == pytest.approx(0.6)
    assert found[99] == pytest.approx(0.2 + 0.8 / 50)


def test_cosine_ends_at_its_final_share() -> None:
    found = rates(Cosine(warmup=0.0, final=0.1), 1000)
    assert found[0] == 1.0
    assert found[500] == pytest.approx(0.55)
    assert found[999] == pytest.approx(0.1, abs=1e-4)


@pytest.mark.parametrize("schedule", [Cosine(), WarmupStableDecay()])
def test_one_step_learns_something(schedule: Choice) -> None:
    assert schedule.factor(0, steps=1) > 0  # type: ignore[attr-defined]

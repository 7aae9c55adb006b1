"""Schedules against those of torch and transformers, and properties that hold for any length and any settings."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from danlu import catalog
from danlu.optim.protocol import ScheduleChoice
from danlu.optim.schedules import Constant, Cosine, InverseSqrt, Linear, Plateau, WarmupStableDecay

shares = st.floats(0, 0.99)


def rates(schedule: ScheduleChoice, steps: int) -> list[float]:
    return [schedule.factor(step, steps=steps) for step in range(steps)]


@given(warmup=shares, final=st.floats(0, 1), steps=st.integers(1, 300))
def test_cosine_rises_then_falls_within_bounds(warmup: float, final: float, steps: int) -> None:
    found = rates(Cosine(warmup=warmup, final=final), steps)
    assert_rises_then_falls(found, warmup_steps=warmup * steps)
    assert min(found[int(warmup * steps) + 1 :], default=1.0) >= final - 1e-9


@given(warmup=shares, decay=st.floats(0, 1), final=st.floats(0, 1), steps=st.integers(1, 300))
def test_wsd_rises_then_falls_within_bounds(warmup: float, decay: float, final: float, steps: int) -> None:
    decay *= 1 - warmup
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


@given(hundredths=st.integers(0, 99))
def test_warmup_and_cooldown_of_wsd_may_meet(hundredths: int) -> None:
    """Shares that are 1 together as they are written are so in floating point too."""
    assert WarmupStableDecay(warmup=hundredths / 100, decay=(100 - hundredths) / 100).factor(99, steps=100) > 0


def test_cosine_ends_at_its_final_share() -> None:
    found = rates(Cosine(warmup=0.0, final=0.1), 1000)
    assert found[0] == 1.0
    assert found[500] == pytest.approx(0.55)
    assert found[999] == pytest.approx(0.1, abs=1e-4)


@pytest.mark.parametrize("name", catalog.names("schedule"))
def test_one_step_learns_something(name: str) -> None:
    schedule = catalog.load("schedule", name, key="schedule")()
    assert schedule.factor(0, steps=1) > 0


@pytest.mark.parametrize("name", catalog.names("schedule"))
@given(warmup=shares, steps=st.integers(1, 60))
def test_every_schedule_warms_up_to_the_peak_and_no_further(name: str, warmup: float, steps: int) -> None:
    rest = {"decay": (1 - warmup) / 2} if name == "wsd" else {}
    schedule = catalog.load("schedule", name, key="schedule")(warmup=warmup, **rest)
    assert_rises_then_falls(rates(schedule, steps), warmup_steps=warmup * steps)


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)


def theirs(name: str, *, steps: int, **settings: Any) -> list[float]:
    """The rates of a schedule of transformers."""
    made = optimizer()
    schedule = getattr(transformers.optimization, name)(made, **settings)
    found = []
    for _ in range(steps):
        found.append(schedule.get_last_lr()[0])
        made.step()
        schedule.step()
    return found


@pytest.mark.parametrize(
    ("ours", "name", "settings"),
    [
        (Constant(warmup=0.2), "get_constant_schedule_with_warmup", {}),
        (Linear(warmup=0.2), "get_linear_schedule_with_warmup", {"num_training_steps": 50}),
        (Cosine(warmup=0.2, final=0.0), "get_cosine_schedule_with_warmup", {"num_training_steps": 50}),
        (InverseSqrt(warmup=0.2), "get_inverse_sqrt_schedule", {}),
        (
            WarmupStableDecay(warmup=0.2, decay=0.5),
            "get_wsd_schedule",
            {"num_training_steps": 50, "num_decay_steps": 25, "decay_type": "linear"},
        ),
    ],
    ids=["constant", "linear", "cosine", "inverse_sqrt", "wsd"],
)
def test_rates_are_those_of_transformers(ours: ScheduleChoice, name: str, settings: dict[str, Any]) -> None:
    found = rates(ours, 50)
    # Ours is above 0 at the first step and reaches the peak as many steps later: theirs, one step on, of 11.
    assert found[:10] == pytest.approx(theirs(name, steps=11, num_warmup_steps=11, **settings)[1:11])
    assert found[10:] == pytest.approx(theirs(name, steps=50, num_warmup_steps=10, **settings)[10:])


def test_linear_ends_at_its_final_share_as_in_torch() -> None:
    made = optimizer()
    schedule = torch.optim.lr_scheduler.LinearLR(made, start_factor=1.0, end_factor=0.3, total_iters=40)
    expected = []
    for _ in range(40):
        expected.append(schedule.get_last_lr()[0])
        made.step()
        schedule.step()
    assert rates(Linear(warmup=0.0, final=0.3), 40) == pytest.approx(expected)


def test_shares_that_are_more_than_all_steps_are_refused() -> None:
    for made, other in ((InverseSqrt, "stable"), (WarmupStableDecay, "decay")):
        with pytest.raises(ValueError, match=f"warmup and {other} must be at most 1 together; got 0.5 and 0.6"):
            made(warmup=0.5, **{other: 0.6})


def test_inverse_sqrt_is_that_of_t5() -> None:
    found = rates(InverseSqrt(warmup=0.0, stable=0.1), 1000)
    assert found == pytest.approx([(1 / max(step, 100) ** 0.5) / (1 / 100**0.5) for step in range(1000)])


losses = st.lists(
    st.one_of(st.floats(0.5, 4), st.sampled_from([1.0, 0.9999, 0.9998]), st.just(float("nan"))), min_size=2, max_size=12
)


@given(
    found=losses, shrink=st.sampled_from([0.1, 0.5, 0.9]), patience=st.integers(0, 4),
    gain=st.sampled_from([0.0, 1e-4, 0.1]), final=st.sampled_from([0.0, 0.2]),
)  # fmt: skip
def test_plateau_is_that_of_torch(found: list[float], shrink: float, patience: int, gain: float, final: float) -> None:
    made = optimizer()
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
        made, factor=shrink, patience=patience, threshold=gain, min_lr=final, eps=0.0
    )
    schedule = Plateau(warmup=0.0, shrink=shrink, patience=patience, gain=gain, final=final)
    heldout: list[tuple[int, float]] = []
    for number, loss in enumerate(found):
        heldout.append((10 * (number + 1), loss))
        reference.step(loss)
        rate = schedule.factor(10 * (number + 1), steps=1000, heldout=heldout)
        assert rate == pytest.approx(made.param_groups[0]["lr"])


@given(
    figures=st.lists(st.one_of(st.floats(0, 1), st.sampled_from([0.8, 0.80001, 0.8008])), min_size=2, max_size=12),
    patience=st.integers(0, 3), gain=st.sampled_from([0.0, 1e-4, 0.1]),
)  # fmt: skip
def test_plateau_of_a_figure_of_which_more_is_better_is_that_of_torch(
    figures: list[float], patience: int, gain: float
) -> None:
    """Where the best checkpoint is chosen by accuracy, what is held is accuracy with its sign turned."""
    made = optimizer()
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
        made, mode="max", factor=0.5, patience=patience, threshold=gain, eps=0.0
    )
    schedule = Plateau(warmup=0.0, shrink=0.5, patience=patience, gain=gain)
    for number, figure in enumerate(figures):
        reference.step(figure)
        heldout = [(place + 1, -each) for place, each in enumerate(figures[: number + 1])]
        rate = schedule.factor(number + 1, steps=1000, heldout=heldout)
        assert rate == pytest.approx(made.param_groups[0]["lr"])


def test_plateau_shrinks_where_accuracy_stays_the_same() -> None:
    schedule = Plateau(warmup=0.0, patience=1)
    heldout = [(10 * number, -0.8 + 1e-6 * loss) for number, loss in enumerate((0.5, 0.4, 0.3, 0.3), 1)]
    assert [schedule.factor(step, steps=100, heldout=heldout) for step in (20, 30, 40)] == [1.0, 0.5, 0.5]


def test_plateau_looks_at_no_loss_before_it_is_measured() -> None:
    schedule = Plateau(warmup=0.0, patience=0)
    heldout = [(10, 2.0), (20, 3.0), (30, 3.0)]
    found = [schedule.factor(step, steps=40, heldout=heldout) for step in (9, 19, 20, 29, 30, 39)]
    assert found == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]


def test_plateau_goes_no_lower_than_its_final_share() -> None:
    schedule = Plateau(warmup=0.0, patience=0, shrink=0.1, final=0.2)
    assert schedule.factor(30, steps=40, heldout=[(10, 2.0), (20, 3.0), (30, 3.0)]) == 0.2


def test_plateau_shrinks_what_warms_up() -> None:
    schedule = Plateau(warmup=0.5, patience=0)
    heldout = [(1, 2.0), (2, 3.0)]
    assert [schedule.factor(step, steps=8, heldout=heldout) for step in (0, 1, 2, 5)] == [0.2, 0.4, 0.3, 0.5]

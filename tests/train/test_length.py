"""Steps that minutes are turned into: guessed, settled on the way, and never forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest

from danlu.train.budget import Budget
from danlu.train.length import Length, first_guess, read_length, what_differs, write_length


@pytest.mark.parametrize(
    ("pace", "at_most", "expected"),
    [
        (1.0, None, 30 + 65),  # as foretold: five of the hundred seconds went into timing
        (2.0, None, 30 + 17),  # half as fast: 35 of 95 seconds are left
        (0.5, None, 30 + 160),
        (4.0, None, 30 + 1),  # nothing is left: the one step that every training has
        (0.5, 80, 80),
    ],
)
def test_the_rest_of_the_time_is_filled_at_the_pace_so_far(pace: float, at_most: int | None, expected: int) -> None:
    guess = first_guess(100, spent=5.0)
    assert (guess.steps, guess.settled, guess.until) == (100, False, 30)
    settled = guess.settle(Budget(minutes=100 / 60), pace=pace, at_most=at_most)
    assert (settled.steps, settled.settled) == (expected, True)


def test_without_a_pace_the_guess_stays() -> None:
    settled = first_guess(100, spent=5.0).settle(Budget(minutes=1), pace=None, at_most=None)
    assert (settled.steps, settled.settled) == (100, True)


@pytest.mark.parametrize("pace", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("evaluations", [0, 1, 2, 3, 10, 77])
def test_the_held_out_loss_is_measured_so_many_times_whatever_the_pace(pace: float, evaluations: int) -> None:
    guess = first_guess(100, spent=0.0)
    settled = guess.settle(Budget(minutes=100 / 60), pace=pace, at_most=None)
    early, late = guess.heldout_steps(evaluations), settled.heldout_steps(evaluations)
    assert {step for step in early if step <= 30} == {step for step in late if step <= 30}
    if settled.steps - 30 >= evaluations:
        assert len(late) == evaluations
    assert not evaluations or max(late) == settled.steps
    assert Length(12, settled=True).heldout_steps(3) == {4, 8, 12}


def test_the_schedule_of_a_step_is_the_one_that_was_known_then() -> None:
    settled = first_guess(100, spent=0.0).settle(Budget(minutes=2), pace=2.0, at_most=None)
    assert [settled.schedule_steps(step) for step in (0, 29, 30, 59)] == [100, 100, 60, 60]
    assert Length(50, settled=True).schedule_steps(0) == 50


def test_one_step_has_nothing_to_settle() -> None:
    assert first_guess(1, spent=0.0).settled


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"length": 3}', '{"length": {"steps": 3, "hours": 1}}'])
def test_what_was_written_is_read_and_damage_is_nothing(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    assert read_length(path) is None
    length = first_guess(1000, spent=4.25)
    write_length(path, length, {"threads": "2"})
    assert read_length(path) == length
    path.write_text(damage)
    assert read_length(path) is None


def test_other_arithmetic_is_named(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    assert what_differs(path, {"threads": "2"}) is None
    write_length(path, Length(1, settled=True), {"threads": "2", "torch": "2.13.0"})
    assert what_differs(path, {"threads": "2", "torch": "2.13.0"}) is None
    assert what_differs(path, {"threads": "4", "torch": "2.13.0"}) == "threads 2, now 4"
    write_length(path, Length(1, settled=True), {"threads": "4", "torch": "2.13.0"})
    assert what_differs(path, {"threads": "4", "torch": "2.13.0"}) == "threads 2, now 4"  # however often it is asked

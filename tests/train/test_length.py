"""Steps that minutes are turned into: guessed, settled on the way, and never forgotten."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from danlu.errors import CheckpointError
from danlu.parallel.joining import ALONE
from danlu.stage import Job
from danlu.train import probe as probe_module
from danlu.train.budget import Budget
from danlu.train.course import Course
from danlu.train.length import Length, first_guess, read_length, what_differs, write_length
from danlu.train.pretrain import Pretrain
from danlu.train.run import Run

HUNDRED_SECONDS = Budget(minutes=100 / 60)


@pytest.mark.parametrize(
    ("pace", "at_most", "expected"),
    [
        (1.0, None, 30 + 65),  # as foretold: five of the hundred seconds went into timing
        (2.0, None, 30 + 17),  # half as fast: 35 of 95 seconds are left
        (0.5, None, 30 + 160),
        (4.0, None, 30 + 1),  # nothing is left: the one step that every training has
        (0.5, 80, 80),
        (None, None, 100),  # nobody knows the pace any more
    ],
)
def test_the_rest_of_the_time_is_filled_at_the_pace_so_far(
    pace: float | None, at_most: int | None, expected: int
) -> None:
    guess = first_guess(100, spent=5.0)
    assert (guess.steps, guess.settled, guess.mark) == (100, False, 30)
    corrected = guess.correct(HUNDRED_SECONDS, pace=pace, at_most=at_most)
    assert corrected.steps == expected
    assert corrected.settled == (expected == 31)


def corrected(*paces: float) -> Length:
    length = first_guess(100, spent=0.0)
    for pace in paces:
        assert not length.settled
        length = length.correct(HUNDRED_SECONDS, pace=pace, at_most=None)
    return length


def test_a_machine_that_slows_down_late_still_ends_in_time() -> None:
    """A second for each of 60 steps, then two: the last correction finds the time used up."""
    first = corrected(1.0)
    assert (first.mark, first.settled) == (60, False)
    second = corrected(1.0, 1.0)
    assert (second.mark, second.settled) == (85, False)
    third = corrected(1.0, 1.0, (60 + 2 * 25) / 85)
    assert (third.steps, third.settled) == (86, True)


def test_the_schedule_of_a_step_is_the_one_that_was_known_then() -> None:
    length = corrected(2.0, 2.0, 1.0)
    assert length.before == ((30, 100), (31, 50), (42, 50))
    assert [length.schedule_steps(step) for step in (0, 29, 30, 41, 42, 99)] == [100, 100, 50, 50, 100, 100]
    assert Length(50, settled=True).schedule_steps(0) == 50


@pytest.mark.parametrize("paces", [(0.3, 0.35, 0.33), (1.0, 1.0, 1.0), (1.5, 1.2, 1.1), (3.0,)])
@pytest.mark.parametrize("evaluations", [0, 1, 2, 3, 7, 10])
def test_the_held_out_loss_is_measured_so_many_times_whatever_the_pace(
    paces: tuple[float, ...], evaluations: int
) -> None:
    lengths = [corrected(*paces[:count]) for count in range(len(paces) + 1)]
    for earlier, later in pairwise(lengths):
        until = later.before[-1][0]
        assert [{s for s in length.heldout_steps(evaluations) if s <= until} for length in (earlier, later)] == [
            {s for s in later.heldout_steps(evaluations) if s <= until}
        ] * 2
    if lengths[-1].steps > 40:
        assert len(lengths[-1].heldout_steps(evaluations)) == evaluations
    assert not evaluations or max(lengths[-1].heldout_steps(evaluations)) == lengths[-1].steps
    assert Length(12, settled=True).heldout_steps(3) == {4, 8, 12}


def test_few_steps_have_nothing_to_correct() -> None:
    assert first_guess(1, spent=0.0).settled
    assert not first_guess(4, spent=0.0).settled


@pytest.mark.parametrize(
    "damage",
    ["", "{", "[]", '{"length": 3}', '{"length": {"steps": 3, "hours": 1}}', '{"length": {"steps": 3, "before": [3]}}'],
)
def test_what_was_written_is_read_and_damage_is_nothing(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    assert read_length(path) is None
    length = first_guess(1000, spent=4.25).correct(HUNDRED_SECONDS, pace=0.2, at_most=None)
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


@pytest.mark.parametrize(("compilation", "attention"), [("on", "as compiled"), ("off", "in torch")])
def test_of_older_versions_it_is_known_where_attention_went(compilation: str, attention: str, tmp_path: Path) -> None:
    path, began = tmp_path / "plan.json", {"compilation": compilation}
    write_length(path, Length(1, settled=True), began)
    assert what_differs(path, {**began, "attention": attention}) is None
    assert what_differs(path, {**began, "attention": "in C++"}) == f"attention {attention}, now in C++"
    assert what_differs(path, {**began, "something": "new"}) is None


@pytest.mark.parametrize("before", ["pretrain.budget={minutes: 0.01}", "pretrain.budget.steps=12"])
def test_other_minutes_are_refused_once_the_number_of_steps_is_settled(
    before: str, train: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_module, "PROBE_SECONDS", 0.0)
    out = train(before).out
    settled = read_length(out / "plan.json")
    assert settled is not None
    with pytest.raises(
        CheckpointError, match=rf"minutes is now 2, but that there are {settled.steps:,} steps is settled"
    ):
        train("pretrain.budget={minutes: 2}")
    assert read_length(out / "plan.json") == settled


def test_an_older_plan_is_taken_for_one_of_the_minutes_of_now(
    train: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Versions that did not write down how many there were."""
    monkeypatch.setattr(probe_module, "PROBE_SECONDS", 0.0)
    out = train("pretrain.budget={minutes: 0.01}").out
    plan = json.loads((out / "plan.json").read_text())
    del plan["length"]["minutes"]
    (out / "plan.json").write_text(json.dumps(plan))
    train("pretrain.budget={minutes: 0.01}")
    found = json.loads((out / "plan.json").read_text())["length"]
    assert found == {**plan["length"], "minutes": 0.01}


@pytest.mark.parametrize(("spent", "minutes"), [(3.5, 2.0), (0.0, None)])
def test_an_older_plan_is_of_minutes_where_steps_were_timed(
    spent: float, minutes: float | None, tmp_path: Path
) -> None:
    """One of so many steps is not, though the recipe has minutes now."""
    length = asdict(Length(40, settled=True, spent=spent))
    del length["minutes"]
    (tmp_path / "plan.json").write_text(json.dumps({"length": length}))
    found = read_length(tmp_path / "plan.json", minutes=2.0)
    assert found == Length(40, settled=True, spent=spent, minutes=minutes)


@pytest.mark.parametrize("seconds", [55.0, 0.0], ids=["known", "lost with the metrics"])
def test_the_pace_is_that_of_the_steps_that_were_done(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan that the disk refused stands at mark 300 where the checkpoint stands at 550: 0.1 s a step, not 0.18."""
    going_on = cast(Any, object.__new__(Run))
    going_on.length = first_guess(1000, spent=0.0, minutes=100 / 60)
    going_on.settings = SimpleNamespace(budget=HUNDRED_SECONDS, evaluations=0)
    going_on.training = SimpleNamespace(masters=SimpleNamespace(ranks=ALONE))
    fitted: list[tuple[int, int]] = []
    monitor = SimpleNamespace(seconds=seconds, bar=SimpleNamespace(total=0), heldout_steps=frozenset())

    def steps(_: Run, start: int, end: int, hooks: object) -> None:
        fitted.append((start, end))
        monitor.seconds += 0.1 * max(0, end - start)

    monkeypatch.setattr(Run, "_fit", steps)
    monkeypatch.setattr(Run, "_keep_length", lambda self, length: setattr(self, "length", length))
    monkeypatch.setattr(Run, "_steps_at_most", lambda self: None)
    first = going_on.length.mark
    going_on._to_the_end(550, monitor, [])
    assert first == 300 and fitted[0] == (550, 300)
    assert going_on.length.steps == pytest.approx(1000, abs=1)


def test_other_minutes_are_taken_while_it_is_not(make_job: Callable[..., Job]) -> None:
    job = make_job("pretrain.budget={minutes: 2}")
    stage = job.recipe.section("pretrain")
    assert isinstance(stage, Pretrain)
    write_length(job.out / "plan.json", Length(10, settled=False, minutes=1.0), {})
    training = cast(Any, SimpleNamespace(
        masters=SimpleNamespace(ranks=ALONE, dtype=torch.float32, place="one"),
        compiled=False, compiling=SimpleNamespace(native=False),
        tokens_per_step=96, steps_per_epoch=1.0, model=torch.nn.Linear(1, 1),
    ))  # fmt: skip
    course = Course(stage, training, cast(Any, None), job.out, job.out, seed=3)
    assert course._length() == Length(10, settled=False, minutes=2.0)

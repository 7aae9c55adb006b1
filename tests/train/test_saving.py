"""When checkpoints are saved, by whom, and what happens where the disk refuses."""

from __future__ import annotations

import errno
import math
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from danlu.errors import DanluError, Interrupted, OutputError
from danlu.log import MetricsLog, Progress
from danlu.nn.hf.folder import load_model
from danlu.objectives.clm import CausalLM
from danlu.train import saving as module
from danlu.train.checkpoint import TrainingState, checkpoints, load_newest, save_checkpoint
from danlu.train.guard import DivergedError
from danlu.train.loop import StepInfo, fit
from danlu.train.monitor import Monitor
from danlu.train.saving import Saver, Writer, copied, writing_beside
from danlu.train.settings import Saves
from danlu.train.setup import Training
from danlu.train.signals import StopRequest

MakeTraining = Callable[..., Training]


def info(step: int) -> StepInfo:
    return StepInfo(step, loss=2.5, grad_norm=0.5, lr=1.0, targets=10, tokens=10)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in its last element; every look at it takes a second."""
    now = [0.0]

    def look() -> float:
        now.append(now[-1] + 1)
        return now[-1]

    monkeypatch.setattr(module.time, "perf_counter", look)
    return now


class Work:
    """A saver in a folder of its own, and what it said."""

    def __init__(self, training: Training, folder: Path, tokenizer: Path, **interval: Any) -> None:
        self.stop = StopRequest()
        self.folder = folder / "checkpoints"
        self.monitor = Monitor(
            MetricsLog(folder), Progress("test", 10, "steps"), lambda: 3.25, frozenset(), training.history
        )
        self.writer = Writer()
        settings = Saves(**{"steps": None, "minutes": None, **interval})
        self.saver = Saver(self.folder, training, self.stop, settings, self.writer, tokenizer=tokenizer)

    def steps(self, *numbers: int) -> None:
        for number in numbers:
            self.monitor(info(number))
            self.saver(info(number))

    def saved(self) -> list[str]:
        return [path.name for path in checkpoints(self.folder)]


@pytest.fixture
def saves(make_training: MakeTraining, tmp_path: Path, packed: Path) -> Callable[..., Work]:
    def make(**interval: Any) -> Work:
        return Work(make_training(), tmp_path, packed / "run" / "tokenizer", **interval)

    return make


def test_saving_by_steps(saves: Callable[..., Work]) -> None:
    work = saves(steps=3)
    work.steps(1, 2)
    assert work.saved() == []
    work.steps(3, 4, 5, 6, 7)
    assert work.saved() == ["step-00000003", "step-00000006"]
    state = load_newest(work.folder, pytest.fail)
    assert state is not None
    assert (state.step, state.tokens) == (6, 60)
    work.saver.finish(7)
    assert work.saved() == ["step-00000006", "step-00000007"]


def test_a_save_that_was_due_at_a_step_that_is_left_out_comes_with_the_next_that_is_taken(
    saves: Callable[..., Work],
) -> None:
    """It once did not come at all, so that twice as many steps were at risk."""
    work = saves(steps=3)
    for step in (3, 4):
        work.saver(replace(info(step), skipped=True))
    assert work.saved() == []
    work.steps(5, 6, 7)
    assert work.saved() == ["step-00000005", "step-00000006"]
    work.saver(replace(info(9), skipped=True))
    work.saver.begin(6)  # the training has gone back, as a process that was killed would have
    work.steps(7, 8)
    assert work.saved() == ["step-00000005", "step-00000006"]


def test_saving_by_minutes(saves: Callable[..., Work], clock: list[float]) -> None:
    work = saves(minutes=2)
    work.saver._wishes.since = clock[-1]
    work.steps(1, 2)
    clock.append(clock[-1] + 121)
    work.steps(3, 4)
    assert work.saved() == ["step-00000003"]
    clock.append(clock[-1] + 121)
    work.steps(5)
    assert work.saved() == ["step-00000003", "step-00000005"]


def test_a_request_to_stop_saves_this_step_and_leaves(saves: Callable[..., Work]) -> None:
    work = saves()
    work.steps(1, 2)
    work.stop.signal = signal.SIGTERM
    with pytest.raises(Interrupted, match=r"^stopped after step 3 as asked; the work is saved") as caught:
        work.steps(3)
    assert caught.value.exit_code == 143
    assert work.saved() == ["step-00000003"]


def test_a_request_during_the_last_save_is_not_forgotten(saves: Callable[..., Work]) -> None:
    work = saves()
    work.steps(1)
    work.stop.signal = signal.SIGINT
    with pytest.raises(Interrupted) as caught:
        work.saver.finish(1)
    assert caught.value.exit_code == 130
    assert work.saved() == ["step-00000001"]


def test_a_disk_that_refuses_does_not_end_the_training(
    saves: Callable[..., Work], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work = saves(steps=2)
    work.steps(1, 2)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fsync(descriptor: int) -> None:
        raise full

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        work.steps(3, 4, 5)
        [line] = capsys.readouterr().out.splitlines()
        assert line.startswith("could not save a checkpoint at step 4 (cannot write to ")
        assert line.endswith("no space left on the disk); training goes on")
        assert work.saved() == ["step-00000002"]
        problem = r"^the last checkpoint could not be saved \(cannot write to [^\n]*\); make room and run again$"
        with pytest.raises(OutputError, match=problem):
            work.saver.finish(5)
        work.stop.signal = signal.SIGTERM
        with pytest.raises(OutputError, match="no space left"):  # not the line that says that the work is saved
            work.steps(6)
        work.stop.signal = 0
    assert work.saved() == ["step-00000002"]
    work.saver.finish(6)
    assert work.saved() == ["step-00000002", "step-00000006"]


def test_what_is_saved_already_is_not_saved_again_at_the_end(
    saves: Callable[..., Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    work = saves(steps=2)
    work.steps(1, 2)
    monkeypatch.setattr(module, "save_checkpoint", lambda *_, **__: pytest.fail("saved again"))
    work.saver.finish(2)


def test_weights_that_are_no_numbers_are_never_saved(saves: Callable[..., Work]) -> None:
    work = saves(steps=2)
    work.steps(1, 2)
    with torch.no_grad():
        next(iter(work.saver.training.masters.named.values())).view(-1)[5] = math.nan
    with pytest.raises(DivergedError, match=r"^weights are no longer finite after step 4$"):
        work.steps(3, 4)
    assert work.saved() == ["step-00000002"]


class Gate:
    """Stands for ``save_checkpoint``: it waits until it is opened, and keeps count."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.inside, self.most_inside = 0, 0
        self.threads: list[str] = []

    def __call__(self, folder: Path, state: TrainingState, *arguments: Any, **settings: Any) -> Path:
        self.inside += 1
        self.most_inside = max(self.inside, self.most_inside)
        self.threads.append(threading.current_thread().name)
        assert self.event.wait(timeout=60)
        self.inside -= 1
        return save_checkpoint(folder, state, *arguments, **settings)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate = Gate()
    monkeypatch.setattr(module, "save_checkpoint", gate)
    return gate


def test_training_goes_on_beside_a_save_and_changes_nothing_in_it(saves: Callable[..., Work], gate: Gate) -> None:
    work = saves(steps=2, background=True)
    weights = work.saver.training.masters.state()
    wanted = {name: weight.clone() for name, weight in weights.items()}
    work.steps(1, 2)
    with torch.no_grad():
        torch._foreach_add_(list(weights.values()), 1.0)
    work.steps(3)
    assert work.saved() == []
    assert work.saver.saved is None
    gate.event.set()
    work.saver.finish(3)
    assert work.saved() == ["step-00000002", "step-00000003"]
    model = load_model(work.folder / "step-00000002")
    assert all(torch.equal(weight, wanted[name]) for name, weight in model.named_parameters())
    assert gate.threads == ["checkpoint", "MainThread"]  # the last one is waited for anyway


def test_one_at_a_time(saves: Callable[..., Work], gate: Gate) -> None:
    work = saves(steps=1, background=True)
    work.steps(1)
    opened = threading.Timer(0.05, gate.event.set)
    opened.start()
    work.steps(2, 3)
    assert gate.event.is_set(), "the second has waited for the first"
    work.saver.finish(3)
    assert (gate.most_inside, gate.threads) == (1, ["checkpoint"] * 3), "the last is there already: it is not repeated"
    assert work.saved() == ["step-00000002", "step-00000003"]
    opened.join()


def test_a_save_beside_that_has_begun_is_not_due_again(
    saves: Callable[..., Work], gate: Gate, clock: list[float]
) -> None:
    """It once was until the writer had ended, so that every step waited for it and began the next."""
    work = saves(minutes=2, background=True)
    work.saver._wishes.since = clock[-1]
    clock.append(clock[-1] + 121)
    work.steps(1, 2)
    assert not gate.event.is_set() and gate.inside == 1
    gate.event.set()
    work.saver.wait()
    work.steps(3)
    work.saver.wait()
    assert work.saved() == ["step-00000001"]


def test_a_request_to_stop_waits_for_the_save_beside(saves: Callable[..., Work], gate: Gate) -> None:
    work = saves(steps=2, background=True)
    work.steps(1, 2)
    work.stop.signal = signal.SIGTERM
    opened = threading.Timer(0.05, gate.event.set)
    opened.start()
    with pytest.raises(Interrupted, match=r"^stopped after step 3 as asked"):
        work.steps(3)
    assert work.saved() == ["step-00000002", "step-00000003"]
    assert gate.most_inside == 1
    opened.join()


def test_a_disk_that_refuses_a_save_beside_is_told_alike(
    saves: Callable[..., Work], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(folder: Path, *_: Any, **__: Any) -> Path:
        raise OutputError(f"cannot write to {folder}: no space left on the disk")

    work = saves(steps=2, background=True)
    with monkeypatch.context() as patch:
        patch.setattr(module, "save_checkpoint", refuse)
        work.steps(1, 2)
        assert work.writer._thread is not None
        work.writer._thread.join()
        work.steps(3)
        line = f"could not save a checkpoint at step 2 (cannot write to {work.folder}: no space left on the disk)"
        assert capsys.readouterr().out.splitlines() == [f"{line}; training goes on"]
        work.steps(4)
        with pytest.raises(
            OutputError, match=r"^the last checkpoint could not be saved \(cannot write to [^\n]*\); make"
        ):
            work.saver.finish(4)
        assert "at step 4 (" in capsys.readouterr().out
        assert work.saved() == []
    work.steps(5, 6)
    work.saver.finish(6)
    assert work.saved() == ["step-00000006"]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("room", [True, False], ids=["with room on the disk", "without"])
def test_where_memory_does_not_hold_a_copy_training_waits_for_the_save(
    room: bool, saves: Callable[..., Work], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It once ended with a line that asked for a smaller model."""

    def short(value: Any) -> Any:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")

    def refuse(folder: Path, *_: Any, **__: Any) -> Path:
        raise OutputError(f"cannot write to {folder}: no space left on the disk")

    work = saves(steps=2, background=True)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_apart", short)
        if not room:
            patch.setattr(module, "save_checkpoint", refuse)
        work.steps(1, 2)
        first, *others = capsys.readouterr().out.splitlines()
        assert first == "memory is short for a copy of step 2: training waits while it is written"
        assert len(others) == (not room) and all(line.endswith("; training goes on") for line in others)
        assert work.writer._thread is None
        assert work.saved() == (["step-00000002"] if room else [])
        work.steps(3)
    work.steps(4)
    work.saver.finish(4)
    assert work.saved()[-1:] == ["step-00000004"]


def test_a_bug_in_a_save_beside_is_not_swallowed(saves: Callable[..., Work], monkeypatch: pytest.MonkeyPatch) -> None:
    work = saves(steps=2, background=True)
    monkeypatch.setattr(module, "save_checkpoint", lambda *_, **__: {}["nothing"])
    work.steps(1, 2)
    with pytest.raises(KeyError, match="nothing"):
        work.saver.finish(3)


def test_whatever_ends_the_training_waits_for_the_save_beside() -> None:
    """The run folder is unlocked next: nobody may write in it then."""
    done: list[str] = []

    def refused() -> None:
        threading.Event().wait(0.05)
        done.append("end")
        raise OutputError("no space left")

    with pytest.raises(DanluError, match="diverged") as caught, writing_beside() as writer:
        writer.start(refused)
        raise DanluError("diverged")
    assert done == ["end"]
    assert caught.value.__notes__ == ["no space left"]
    with pytest.raises(OutputError, match="no space left"), writing_beside() as writer:
        writer.start(refused)
    assert done == ["end", "end"]


def test_a_copy_is_equal_and_shares_no_memory(make_training: MakeTraining) -> None:
    training = make_training()
    fit(training.model, training.batches, CausalLM(), training.optimizer, lambda step: 1.0, steps=2)
    state = TrainingState(2, 20, training.masters.state(), training.optimizer.state_dict())
    copy = copied(state)
    assert (copy.step, copy.tokens, copy.optimizer["param_groups"]) == (2, 20, state.optimizer["param_groups"])
    tensors = [*state.weights.values(), *(v for values in state.optimizer["state"].values() for v in values.values())]
    copies = [*copy.weights.values(), *(v for values in copy.optimizer["state"].values() for v in values.values())]
    assert all(torch.equal(a, b) for a, b in zip(tensors, copies, strict=True))
    assert not {a.data_ptr() for a in tensors} & {b.data_ptr() for b in copies}
    assert copy.optimizer["param_groups"][0] is not state.optimizer["param_groups"][0]

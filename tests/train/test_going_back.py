"""Where a training goes on after bad stretches, whatever the disk says and whenever it is killed."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from outcome import result
from poison import Killed, killed_after, poison

from danlu.errors import DanluError, OutputError
from danlu.files import remove_folder
from danlu.log import Progress, read_metrics
from danlu.optim.schedules import Constant
from danlu.stage import Job
from danlu.train import run, saving, stopping
from danlu.train.checkpoint import checkpoints, save_checkpoint
from danlu.train.guard import Anomalies, DivergedError
from danlu.train.length import Length
from danlu.train.loop import StepInfo
from danlu.train.monitor import Monitor
from danlu.train.run import Run
from danlu.train.setup import Training
from danlu.train.stopping import BestWeights, EarlyStopping

Train = Callable[..., Job]
SHORT = (
    "pretrain.budget.steps=14", "pretrain.save.steps=5", "pretrain.optimizer={use: adamw, lr: 0.01}",
    "pretrain.schedule={use: constant, warmup: 0}", "pretrain.anomalies.patience=3",
)  # fmt: skip


FURTHER = [pytest.param(None, None, id="undisturbed"), (13, 1), (7, 2), (11, 2)]


@pytest.mark.parametrize(("step", "setbacks"), FURTHER)
def test_where_going_back_was_in_vain_it_goes_further_back(
    step: int | None, setbacks: int | None, train: Train, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Half the rate does not help from step 10 on, where the last checkpoint is; a quarter does, from step 5 on.

    The reference of the weights is a training that has these rates of its own accord.
    """
    rates = [1.0] * 5 + [0.25] * 11
    settings = (*SHORT, "pretrain.budget.steps=16", "pretrain.save.steps=5")

    with monkeypatch.context() as patch:
        poison(patch, [12, 13, 14], "nan", above_lr=0.4)
        if step is not None:
            with killed_after(step, setbacks=setbacks):
                train(*settings)
        job = train(*settings)
    told = capsys.readouterr().out
    assert "going back, with 0.5 of the learning rate\ngoing on after step 10\n" in told
    assert "going further back, with 0.25 of the learning rate\n" in told
    assert [line["lr"] for line in read_metrics(job.out)] == rates
    with monkeypatch.context() as patch:
        patch.setattr(Constant, "factor", lambda self, at, **_: rates[at])
        assert (
            result(train(*settings, out="straight"))["model/model.safetensors"]
            == result(job)["model/model.safetensors"]
        )


def test_a_damaged_checkpoint_is_none_to_go_further_back_to(
    train: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    poison(monkeypatch, [12, 13, 14], "nan")
    real = Run._set_back

    def set_back(self: Run, diverged: DivergedError, *, newest: int) -> None:
        (tmp_path / "pretrain" / "checkpoints" / "step-00000005" / "config.json").write_text("{}")
        real(self, diverged, newest=newest)

    monkeypatch.setattr(Run, "_set_back", set_back)
    with pytest.raises(DanluError, match=r"^the training has diverged, also after going back 3 times"):
        train(*SHORT, "pretrain.save.steps=5")
    assert (tmp_path / "pretrain" / "checkpoints" / "step-00000010").exists()


def test_a_checkpoint_is_on_the_disk_before_the_plan_says_that_the_training_goes_back(
    train: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A process that is killed in between would else go on from the checkpoint before, at the lower rate."""
    poison(monkeypatch, [7, 8, 9], "nan", above_lr=0.9)

    def slow(*arguments: Any, **settings: Any) -> Path:
        time.sleep(0.4)
        return save_checkpoint(*arguments, **settings)

    def killed(*_: Any) -> None:
        assert [path.name for path in checkpoints(tmp_path / "pretrain" / "checkpoints")] == ["step-00000005"]
        raise Killed

    monkeypatch.setattr(saving, "save_checkpoint", slow)
    monkeypatch.setattr(run, "write_length", killed)
    with pytest.raises(Killed):
        train(*SHORT, "pretrain.save.background=true")


def test_a_plan_that_the_disk_refuses_does_not_end_the_training(
    train: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    poison(monkeypatch, [7, 8, 9], "nan", above_lr=0.9)

    def full(path: Path, *_: Any) -> None:
        raise OSError(errno.ENOSPC, "no space", str(path))

    monkeypatch.setattr(run, "write_length", full)
    lines = read_metrics(train(*SHORT).out)
    assert [line["lr"] for line in lines] == [1.0] * 5 + [0.5] * 9
    told = capsys.readouterr().out
    assert re.search(r"could not keep the number of steps \(cannot write to [^\n]*no space left on the disk\);", told)


class ReadOnly:
    """While ``on``, the system refuses what would change the disk, as where a file system is mounted anew after errors;
    it stands in for one, which a process that has its lock file open may not mount so."""

    CALLS = ("truncate", "rename", "replace", "mkdir", "unlink", "rmdir")

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.on = False
        for name in self.CALLS:
            patch.setattr(os, name, self._refusing(getattr(os, name), lambda *_: True))
        patch.setattr(os, "open", self._refusing(os.open, lambda _, flags, *__: flags & (os.O_WRONLY | os.O_RDWR)))

    def _refusing(self, real: Callable[..., Any], writes: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *arguments: Any, **settings: Any) -> Any:
            if self.on and writes(path, *arguments):
                raise OSError(errno.EROFS, "Read-only file system", str(path))
            return real(path, *arguments, **settings)

        return call


GOING_FURTHER = (*SHORT, "pretrain.budget.steps=18", "pretrain.evaluations=9", "pretrain.early_stopping.patience=9")


@pytest.mark.parametrize("until", [6, 12], ids=["before the checkpoint that it replaces", "behind it"])
def test_going_back_on_a_disk_that_is_read_only_for_a_while_ends_as_on_another(
    until: int, train: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From step 13 to 10, and further to 5; then the disk is mended, and what it refused is done."""
    poison(monkeypatch, [12, 13, 14], "nan", above_lr=0.4)
    straight = train(*GOING_FURTHER, out="straight")
    told = capsys.readouterr().out
    disk = ReadOnly(monkeypatch)

    def back(self: Run, diverged: DivergedError, *, newest: int) -> None:
        disk.on = True
        real(self, diverged, newest=newest)

    def hook(self: Training, info: StepInfo) -> None:
        if (info.step, self.history.setbacks) == (until, 2):
            disk.on = False

    real = Run._set_back
    monkeypatch.setattr(Run, "_set_back", back)
    monkeypatch.setattr(Training, "after_step", hook)
    taken: list[tuple[int, float]] = []
    monitor = Run._monitor

    def timed(self: Run, start: int, bar: Progress) -> Monitor:
        made = monitor(self, start, bar)
        taken.append((start, made.seconds))
        return made

    monkeypatch.setattr(Run, "_monitor", timed)
    job = train(*GOING_FURTHER)
    warned = capsys.readouterr().out
    assert [step for step, _ in taken] == [0, 10, 5]
    assert taken[2] == (5, read_metrics(job.out)[4]["seconds"]), "lines behind it are of a stretch that was left"
    for line in told.splitlines():
        assert line.startswith("pretrain ") or line in warned.splitlines()
    refused = r"\(([^\n]*/pretrain/[^\n]* )?the file system is read-only\); training goes on\n"
    for what in ("keep the number of steps", "remove the checkpoints behind step-00000005"):
        assert re.search(rf"could not {what} {refused}", warned), warned
    assert "could not remove the metrics behind step 5 ([Errno 30]" in warned
    assert result(job) == result(straight)
    kept = [sorted(path.name for path in (each.out / "checkpoints").iterdir()) for each in (job, straight)]
    assert kept[0] == kept[1]
    lines, others = ([line["lr"] for line in read_metrics(each.out)] for each in (job, straight))
    assert lines == others[:5] + others[until - 1 :] and others == [1.0] * 5 + [0.25] * 13


def test_a_disk_that_stays_read_only_loses_nothing_that_was_saved(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, [12, 13, 14], "nan", above_lr=0.4)
    straight = train(*GOING_FURTHER, out="straight")
    real = Run._set_back
    with monkeypatch.context() as patch:
        disk = ReadOnly(patch)

        def back(self: Run, diverged: DivergedError, *, newest: int) -> None:
            disk.on = True
            real(self, diverged, newest=newest)

        patch.setattr(Run, "_set_back", back)
        with pytest.raises(OutputError, match=r"^the last checkpoint could not be saved \([^\n]*; make room and run"):
            train(*GOING_FURTHER)
    assert result(train(*GOING_FURTHER)) == result(straight)


@pytest.fixture
def best(make_training: Callable[..., Training], packed: Path, tmp_path: Path) -> BestWeights:
    """There is a checkpoint of step 2."""
    training = make_training()
    return BestWeights(
        EarlyStopping(), training.history, tmp_path / "best", training.averaged, training.model.config,
        packed / "run" / "tokenizer", lambda: [2],
    )  # fmt: skip


def measure(best: BestWeights, step: int, loss: float) -> None:
    best.history.heldout.append((step, loss))
    best(StepInfo(step, loss, 1.0, 1.0, 10))


def kept(best: BestWeights) -> list[str]:
    return sorted(path.name for path in best.folder.iterdir())


def test_best_weights_that_could_not_be_removed_are_not_the_result(
    best: BestWeights, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Step 4 is done again, is the best again, and no longer has the weights that were kept of it."""
    measure(best, 2, 3.0)
    measure(best, 4, 2.0)
    disk = ReadOnly(monkeypatch)
    disk.on = True
    best.go_back(2)
    assert "could not remove the best weights of a stretch that was gone back over (" in capsys.readouterr().out
    best.history.heldout.pop()
    measure(best, 4, 1.9)
    assert "could not keep the best weights so far (" in capsys.readouterr().out
    assert best.best() is None
    assert "the weights of step 4, the best, were not kept" in capsys.readouterr().out
    disk.on = False
    best(StepInfo(5, 2.0, 1.0, 1.0, 10))
    assert kept(best) == ["step-00000002"], "a process that goes on from a checkpoint of step 5 knows of no other"


@pytest.mark.parametrize(("again", "refusals"), [(4, 9), (6, 2)])
def test_best_weights_are_kept_beside_some_that_cannot_be_removed(
    again: int, refusals: int, best: BestWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk does not remove those of steps 6 and 8: never, or not until step 6 is done again."""
    for step, loss in ((2, 3.0), (6, 2.0), (8, 1.0)):
        measure(best, step, loss)
    refused: list[str] = []

    def remove(folder: Path) -> None:
        if folder.name in ("step-00000006", "step-00000008") and len(refused) < refusals:
            refused.append(folder.name)
            raise OSError(errno.EIO, "Input/output error", str(folder))
        remove_folder(folder)

    monkeypatch.setattr(stopping, "remove_folder", remove)
    best.go_back(2)
    del best.history.heldout[1:]
    weights = best.weights()
    best.weights = lambda: {name: weight + 1 for name, weight in weights.items()}
    measure(best, again, 2.5)
    best(StepInfo(7, 2.5, 1.0, 1.0, 10))
    best.weights = lambda: {}
    found = best.best()
    assert found is not None and all(torch.equal(found[name], weight + 1) for name, weight in weights.items())


def test_only_the_first_rank_looks_at_the_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others do not know what is on the disk; each once hashed it all while rank 0 waited, and passed for hung."""
    alone: list[str] = []

    @contextmanager
    def looks(what: str) -> Iterator[None]:
        alone.append(what)
        yield

    monkeypatch.setattr(run, "find_damage", pytest.fail)
    monkeypatch.setattr(Run, "_keep_length", lambda self, length: setattr(self, "length", length))
    second = cast(Any, object.__new__(Run))
    second.settings = SimpleNamespace(anomalies=Anomalies())
    second.length, second._start, second._known_setbacks = Length(100, settled=True), 0, 0
    ranks = SimpleNamespace(first=False, alone=looks, from_first=lambda mine: (20, 10))
    second.training = SimpleNamespace(
        masters=SimpleNamespace(ranks=ranks), history=SimpleNamespace(setbacks=1, training="")
    )
    second._set_back(DivergedError("spikes"), newest=0)
    assert second.length.back_to == 10 and second.training.history.setbacks == 2
    assert alone == ["looks for a checkpoint"]


CHANGED = (
    "settings or text have changed since this training went back: its learning rates are those of the recipe again"
)


@pytest.mark.parametrize("first_save", [5, 50], ids=["checkpoint", "none yet"])
@pytest.mark.parametrize(
    "change", ["pretrain.clip={use: norm, limit: 0.9}", "pretrain.optimizer={use: adamw, lr: 0.005}"]
)
def test_with_other_settings_a_training_that_has_diverged_may_go_back_as_often_as_any(
    change: str, first_save: int, train: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = (*SHORT, f"pretrain.save.steps={first_save}", "pretrain.anomalies.rewinds=2")
    with monkeypatch.context() as patch, pytest.raises(DanluError, match="the training has diverged"):
        poison(patch, range(7, 11), "nan")
        train(*settings)
    with monkeypatch.context() as patch:
        poison(patch, range(7, 11), "nan", above_lr=0.3)
        capsys.readouterr()
        job = train(*settings, change)
    told = capsys.readouterr().out
    assert told.count(f"{CHANGED}, and it may go back 2 times anew\n") == 1
    assert told.count("back, with ") == 2
    begun = 5 if first_save == 5 else 0
    assert [line["lr"] for line in read_metrics(job.out)] == [1.0] * begun + [0.25] * (14 - begun)


@pytest.mark.parametrize("killed", [False, True])
def test_checkpoints_from_before_a_change_do_not_count_as_having_gone_back(
    killed: bool, train: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """That of step 10 knows of setbacks of the old settings; the new ones go back to it, and then to step 5."""
    settings = (*SHORT, "pretrain.anomalies.rewinds=2", "pretrain.budget.steps=16")

    with monkeypatch.context() as patch:
        poison(patch, [6, 7, 8], "nan", above_lr=0.4)
        with killed_after(11, setbacks=2):
            train(*settings)
    with monkeypatch.context() as patch, pytest.raises(DanluError, match="the training has diverged"):
        poison(patch, [11, 12, 13], "nan")
        train(*settings)
    capsys.readouterr()
    changed = (*settings, "pretrain.clip={use: norm, limit: 0.9}")
    with monkeypatch.context() as patch:
        poison(patch, [11, 12, 13], "nan", above_lr=0.3)
        if killed:
            with killed_after(7, setbacks=2):
                train(*changed)
        job = train(*changed)
    told = capsys.readouterr().out
    assert told.count(CHANGED) == 1
    assert told.count("going back, with 0.5 ") == 1 and told.count("going further back, with 0.25 ") == 1
    assert [line["lr"] for line in read_metrics(job.out)][5:] == [0.25] * 11

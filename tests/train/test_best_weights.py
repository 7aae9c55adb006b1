"""The best weights of a training that stops early: on a disk that spoils them, and where weights blow up."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import MagicMock

import pytest
import torch

from danlu.log import read_metrics
from danlu.nn.hf.folder import load_model
from danlu.parallel.joining import ALONE
from danlu.stage import Job
from danlu.train import run, saving, stopping
from danlu.train.checkpoint import TrainingState, save_checkpoint
from danlu.train.length import read_length
from danlu.train.loop import StepInfo
from danlu.train.monitor import Measured
from danlu.train.run import Run
from danlu.train.saving import Saver
from danlu.train.setup import Training
from danlu.train.stopping import BestWeights

Train = Callable[..., Job]
BASE = (
    "pretrain.budget.steps=8", "pretrain.save.steps=3", "pretrain.evaluations=4",
    "pretrain.optimizer={use: adamw, lr: 0.01}", "pretrain.schedule={use: constant, warmup: 0}",
)  # fmt: skip
EARLY = (*BASE, "pretrain.early_stopping={patience: 2}")


@pytest.fixture
def foretold(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[int, float]], None]:
    """Held-out losses by the step."""

    def tell(losses: dict[int, float]) -> None:
        def heldout_loss(self: Run) -> Callable[[], Measured]:
            known = self.training.history.heldout
            return lambda: Measured(losses[known[-1][0] + 2 if known else 2])

        monkeypatch.setattr(Run, "_heldout_loss", heldout_loss)

    return tell


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


@pytest.mark.parametrize("damage", [flip, cut, Path.unlink])
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "manifest.json"])
def test_weights_that_the_disk_has_spoilt_are_not_the_result(
    damage: Callable[[Path], None], name: str, train: Train, foretold: Callable[[dict[int, float]], None],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A flipped bit once went into the model without a word; a file that was cut ended all with a traceback."""
    foretold({2: 3.0, 4: 2.0, 6: 2.5, 8: 2.4})
    real = BestWeights.best

    def best(self: BestWeights) -> dict[str, torch.Tensor] | None:
        damage(self.folder / "step-00000004" / name)
        return real(self)

    monkeypatch.setattr(BestWeights, "best", best)
    job = train(*EARLY)
    told = capsys.readouterr().out
    folder = job.out / "best" / "step-00000004"
    assert f"{folder}, the weights of the best step, is damaged ({name} is " in told
    last = load_model(job.out / "checkpoints" / "step-00000008").state_dict()
    assert all(torch.equal(each, last[name]) for name, each in load_model(job.out / "model").state_dict().items())


def test_memory_that_does_not_hold_them_does_not_end_the_training(
    train: Train, foretold: Callable[[dict[int, float]], None], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def short(*_: object, **__: object) -> None:
        raise MemoryError

    foretold({2: 3.0, 4: 2.0, 6: 2.5, 8: 2.4})
    monkeypatch.setattr(stopping, "put_weights", short)
    train(*EARLY)
    told = capsys.readouterr().out
    assert "could not keep the best weights so far (memory is short); training goes on\n" in told
    assert "the weights of step 4, the best, were not kept: the result is the last step\n" in told


def test_those_of_a_checkpoint_that_is_being_written_are_kept(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow disk is at step 4 until the end: a training that went back to it would want the weights of step 4."""
    opened = threading.Event()
    kept: dict[int, list[int]] = {}

    def slow(folder: Path, state: TrainingState, *rest: Any, **settings: Any) -> Path:
        assert state.step != 4 or opened.wait(60)
        return save_checkpoint(folder, state, *rest, **settings)

    def after_step(self: Training, info: StepInfo) -> None:
        if info.step == 8:
            opened.set()

    def keep(self: BestWeights, step: int, weights: dict[str, torch.Tensor]) -> None:
        real(self, step, weights)
        kept[step] = self._kept()

    real = BestWeights._keep
    monkeypatch.setattr(saving, "save_checkpoint", slow)
    monkeypatch.setattr(Training, "after_step", after_step)
    monkeypatch.setattr(BestWeights, "_keep", keep)
    monkeypatch.setattr(
        Run, "_heldout_loss", lambda self: lambda: Measured(3.0 - len(self.training.history.heldout) / 10)
    )
    train(*EARLY, "pretrain.save={steps: 4, minutes: null, background: true}", "pretrain.evaluations=8")
    assert (kept[4], kept[7]) == ([3, 4], [4, 6, 7])


def test_a_checkpoint_that_comes_while_others_are_looked_at_is_one_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer ends just after the folder was read, so that it is not there yet, and is written no more."""
    saver, training = SimpleNamespace(being_written=[4]), MagicMock()

    def look(folder: Path) -> list[Path]:
        saver.being_written = []
        return [folder / "step-00000002"]

    monkeypatch.setattr(run, "checkpoints", look)
    settings = SimpleNamespace(early_stopping=stopping.EarlyStopping())
    own = SimpleNamespace(settings=settings, training=training, out=Path("out"), tokenizer=Path("t"), _ranks=ALONE)
    best = Run._best_weights(cast(Run, own), cast(Saver, saver))
    assert best is not None and sorted(best.checkpoints()) == [2, 4]


def test_weights_that_blow_up_are_no_reason_to_stop(
    train: Train, foretold: Callable[[dict[int, float]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step at which patience ends has left weights that are no numbers: the plan once said that it was the last."""
    losses = {2: 2.0, 4: 2.5, 6: 2.6, 8: 1.0}
    foretold(losses)
    real = Training.after_step

    def blow_up(self: Training, info: StepInfo) -> None:
        real(self, info)
        if info.step == 6 and not self.history.setbacks:
            next(iter(self.masters.named.values())).data.view(-1)[0] = math.nan
            losses[6] = 1.5  # the next time all is well

    monkeypatch.setattr(Training, "after_step", blow_up)
    with monkeypatch.context() as patch:
        patch.setattr(BestWeights, "__call__", stop_at_six)
        job = train(*EARLY)
    length = read_length(job.out / "plan.json")
    assert length is not None and (length.steps, length.setbacks, length.ended_early) == (8, 1, False)
    assert [line["lr"] for line in read_metrics(job.out)] == [1.0] * 3 + [0.5] * 5


def stop_at_six(best: BestWeights, info: StepInfo, real: Callable[..., None] = BestWeights.__call__) -> None:
    """As it is, but that the loss of weights which are no numbers is none either."""
    measured = best.history.heldout
    if measured and measured[-1][0] == info.step == 6 and not best.history.setbacks:
        measured[-1] = (6, math.nan)
    real(best, info)

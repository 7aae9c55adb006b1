"""A checkpoint of another training, copied in, is not gone on from; those of one that was told to go on are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from outcome import result

from danlu.errors import CheckpointError
from danlu.optim.adamw import AdamW
from danlu.stage import Job
from danlu.train.budget import Budget
from danlu.train.identity import admit, admitted_to, identity
from danlu.train.loop import StepInfo
from danlu.train.pretrain import Pretrain
from danlu.train.settings import Hardware, Saves
from danlu.train.setup import Training

Train = Callable[..., Job]
BASE = ("pretrain.budget.steps=12", "pretrain.save.steps=4", "pretrain.optimizer={use: adamw, lr: 0.01}")
OTHER = (*BASE, "pretrain.optimizer.lr=0.02")
SETTINGS = {"budget": Budget(steps=10), "optimizer": AdamW()}


class Killed(BaseException):
    """No handler of ours may catch it."""


def killed(train: Train, step: int, *settings: str, out: str = "pretrain") -> None:
    def hook(self: Training, info: StepInfo) -> None:
        if info.step == step:
            raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Training, "after_step", hook)
        train(*settings, out=out)


@pytest.fixture
def copied_in(train: Train, tmp_path: Path) -> Path:
    """The checkpoints of a training that was killed after step 6, and that of step 8 of another one."""
    killed(train, 6, *BASE)
    killed(train, 10, *OTHER, out="other")
    folder = tmp_path / "pretrain" / "checkpoints"
    shutil.copytree(tmp_path / "other" / "checkpoints" / "step-00000008", folder / "step-00000008")
    return folder


def test_one_of_another_training_is_named_and_the_one_before_is_used(
    copied_in: Path, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    """It once was taken for the newest, so that the result was that of neither training."""
    straight = train(*BASE, out="straight")
    capsys.readouterr()
    job = train(*BASE, "pretrain.save.background=true")
    told = capsys.readouterr().out
    assert (
        f"checkpoint {copied_in / 'step-00000008'} is of a training with other settings, another seed or other text; "
        "going on from step-00000004\n"
    ) in told
    assert result(job) == result(straight)


def test_where_there_is_no_other_it_is_one_line(copied_in: Path, train: Train) -> None:
    shutil.rmtree(copied_in / "step-00000004")
    with pytest.raises(CheckpointError, match=r"^every checkpoint in [^\n]* is damaged or of another training; delete"):
        train(*BASE)


def test_a_training_that_is_told_to_goes_on_with_other_settings_and_back_again(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    killed(train, 6, *BASE)
    killed(train, 6, *OTHER)
    assert "going on after step 4\n" in capsys.readouterr().out
    killed(train, 10, *OTHER)
    train(*BASE)
    told = capsys.readouterr().out
    assert "going on after step 8\n" in told and "of a training with" not in told
    assert len(admitted_to(tmp_path / "pretrain" / "plan.json") or ()) == 2


def test_where_the_plan_is_lost_nobody_knows(copied_in: Path, train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    (copied_in.parent / "plan.json").write_text("{")
    train(*BASE)
    assert "going on after step 8\n" in capsys.readouterr().out
    assert admitted_to(copied_in.parent / "plan.json") is None


def test_settings_seed_and_text_make_a_training_and_the_machine_does_not() -> None:
    def known(*, seed: int = 1, **settings: object) -> str:
        return identity(Pretrain(**{**SETTINGS, **settings}), seed=seed, data={"tokens": 3})

    alike = {known(), known(save=Saves(steps=3)), known(hardware=Hardware(micro_batch=2))}
    others = {
        known(batch=3), known(optimizer=AdamW(lr=0.5)), known(seed=2), known(budget=Budget(steps=11)),
        identity(Pretrain(**SETTINGS), seed=1, data={"tokens": 4}),
    }  # fmt: skip
    assert len(alike) == 1 and len(others) == 5 and not alike & others


def test_a_list_has_each_once_and_keeps_what_else_is_there(tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    for training in ("a", "b", "a"):
        admit(plan, training, fresh=True)
    plan.write_text(json.dumps({**json.loads(plan.read_text()), "length": 3}))
    admit(plan, "c", fresh=False)
    assert json.loads(plan.read_text()) == {"trainings": ["a", "b", "c"], "length": 3}

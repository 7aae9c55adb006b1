"""The stage pretrain in one process: what it leaves, and that no interruption changes it."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from outcome import decisive, result

from danlu.corpus.rows import Widths
from danlu.corpus.store import TokenStore
from danlu.errors import CheckpointError, DanluError, OutputError
from danlu.log import read_metrics
from danlu.nn.hf.folder import load_model
from danlu.objectives.clm import CausalLM
from danlu.optim.adamw import AdamW
from danlu.optim.muon import Muon
from danlu.optim.schedules import Cosine, WarmupStableDecay
from danlu.stage import Job
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.train import course as module
from danlu.train import monitor, saving
from danlu.train import probe as probe_module
from danlu.train import run as run_module
from danlu.train.budget import Budget
from danlu.train.checkpoint import TrainingState, checkpoints, load_newest, save_checkpoint
from danlu.train.length import Length, read_length
from danlu.train.loop import StepInfo, fit
from danlu.train.pretrain import Pretrain
from danlu.train.probe import Probe
from danlu.train.setup import Training

Train = Callable[..., Job]
TIMED = ("pretrain.budget={minutes: 100, steps: 12}", "pretrain.save.steps=3")
SHORT = ("pretrain.budget.steps=12", "pretrain.save.steps=3")
CURRICULUM = (
    "pretrain.mixture={use: curriculum, periods: ["
    "{until: 0.4, mixture: {use: weights, parts: {first: {documents: {source: '0*'}, epochs: 0.5}, rest: {weight: 1}}}}"
    ", {mixture: {use: temperature, parts: {a: {source: ['0*', '1*']}, b: {}}}}]}"
)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The folder of the trainings that are not called otherwise."""
    return tmp_path / "pretrain"


class Unplugged(BaseException):
    """No handler of ours may catch it."""


@pytest.fixture
def unplug(monkeypatch: pytest.MonkeyPatch, train: Train) -> Callable[..., None]:
    """``unplug(7, *overrides)``: train, and end without a word after step 7, before it is saved."""

    def run(step: int, *overrides: str, out: str = "pretrain") -> None:
        def hook(self: Training, info: StepInfo) -> None:
            if info.step == step:
                raise Unplugged

        with monkeypatch.context() as patch, pytest.raises(Unplugged):
            patch.setattr(Training, "after_step", hook)
            train(*overrides, out=out)

    return run


def test_what_a_training_leaves(train: Train, packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job, store = train(*SHORT, "pretrain.evaluations=3"), TokenStore.open(packed / "run" / "pack" / "train")
    lines = read_metrics(job.out)
    assert [line["step"] for line in lines] == list(range(1, 13))
    assert [line["step"] for line in lines if "heldout_loss" in line] == [4, 8, 12]
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert lines[0]["loss"] == pytest.approx(math.log(store.vocab_size))
    assert [path.name for path in checkpoints(job.out / "checkpoints")] == ["step-00000009", "step-00000012"]
    load_model(job.out / "model")
    assert Tokenizer.load(job.out / "model").encode("to be") == Tokenizer.load(packed / "run" / "tokenizer").encode(
        "to be"
    )
    epochs = 12 * 4 / -(-store.targets // 24)
    assert f"12 steps of 96 tokens: {epochs:.2f} epochs" in capsys.readouterr().out


def test_text_that_the_objective_cannot_use_is_counted(
    make_job: Callable[..., Job], packed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(CausalLM, "widths", lambda self, body: Widths(np.where(body > 9, body + 1, 0)))
    job = make_job(*SHORT, "pretrain.rows={use: packed, long: head}")
    figures = job.recipe.section("pretrain").run(job)  # type: ignore[attr-defined]
    store = TokenStore.open(packed / "run" / "pack" / "train")
    short = [length for length in (np.diff(store.starts) - 1).tolist() if length <= 9]
    assert len(short) > 0
    told = f"of {len(short)} pieces of text, {sum(short)} tokens, the objective can make nothing: they are left out\n"
    assert told in capsys.readouterr().out
    assert figures["unused_tokens"] == sum(short)


def test_the_figures_are_those_of_the_metrics(make_job: Callable[..., Job]) -> None:
    job = make_job(*SHORT)
    stage = job.recipe.section("pretrain")
    assert isinstance(stage, Pretrain)
    figures = stage.run(job)
    last = read_metrics(job.out)[-1]
    assert (figures["tokens"], figures["loss"], figures["seconds"]) == (last["tokens"], last["loss"], last["seconds"])
    assert figures["steps"] == 12
    assert figures["parameters"] == sum(weight.numel() for weight in load_model(job.out / "model").parameters())
    assert figures["precision"] == "fp32: as asked"
    again = stage.run(job)  # as after a kill between the last save and done.json
    assert {key: again[key] for key in ("tokens", "loss", "steps")} == {
        key: figures[key] for key in ("tokens", "loss", "steps")
    }


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("pretrain.optimizer=adamw", "pretrain.schedule=cosine", "pretrain.hardware.micro_batch=3"),
        ("pretrain.precision=bf16",),
        ("pretrain.precision=bf16", "pretrain.save.background=true"),
        ("pretrain.model={use: llama, layers: 1, dim: 32, heads: 2, tied: true}", "pretrain.sequence=500"),
        (CURRICULUM,),
    ],
    ids=["muon", "adamw", "bf16", "bf16, saved beside", "tied, several epochs", "curriculum"],
)
@pytest.mark.parametrize("step", [2, 7])
def test_a_resumed_training_is_the_uninterrupted_one(
    overrides: tuple[str, ...], step: int, train: Train, unplug: Callable[..., None]
) -> None:
    straight = train(*SHORT, *overrides, out="straight")
    unplug(step, *SHORT, *overrides)
    unplug(11, *SHORT, *overrides)
    resumed = train(*SHORT, *overrides)
    assert result(resumed) == result(straight)
    for a, b in zip(read_metrics(resumed.out), read_metrics(straight.out), strict=True):
        timed = ("seconds", "tokens_per_second")
        assert {k: v for k, v in a.items() if k not in timed} == {k: v for k, v in b.items() if k not in timed}
    seconds = [line["seconds"] for line in read_metrics(resumed.out)]
    assert all(after > before for before, after in pairwise(seconds))


@pytest.mark.parametrize(
    "overrides",
    [("pretrain.save.steps=5",), ("pretrain.save={minutes: 0.00001}",), ("pretrain.save={minutes: null}",),
     ("pretrain.evaluations=0",), ("pretrain.evaluations=12",), ("pretrain.save={steps: 2, background: true}",)],
)  # fmt: skip
def test_saving_and_measuring_change_nothing(overrides: tuple[str, ...], train: Train) -> None:
    assert decisive(train(*SHORT, *overrides, out="other")) == decisive(train(*SHORT))


def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_is_used(
    train: Train, unplug: Callable[..., None], capsys: pytest.CaptureFixture[str], out: Path
) -> None:
    straight = train(*SHORT, out="straight")
    unplug(11, *SHORT)
    newest = out / "checkpoints" / "step-00000009"
    (newest / "training" / "optimizer.safetensors").write_bytes(b"lost")
    capsys.readouterr()
    resumed = train(*SHORT)
    told = capsys.readouterr().out.splitlines()
    assert (
        f"checkpoint {newest} is damaged (training/optimizer.safetensors is not what was written); "
        "going on from step-00000006"
    ) in told
    assert "going on after step 6" in told
    assert result(resumed) == result(straight)
    assert [line["step"] for line in read_metrics(out)] == list(range(1, 13))


def test_where_all_checkpoints_are_damaged_nothing_starts_from_scratch(
    train: Train, unplug: Callable[..., None], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unplug(11, *SHORT)
    for path in checkpoints(out / "checkpoints"):
        (path / "config.json").unlink()
    monkeypatch.setattr(run_module, "fit", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(CheckpointError, match=r"^every checkpoint in [^\n]* is damaged; delete that folder [^\n]*$"):
        train(*SHORT)


def test_a_timed_budget_is_fixed_once(
    train: Train, unplug: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_module, "PROBE_SECONDS", 0.0)
    straight = train(*SHORT, out="straight")
    unplug(7, *TIMED)
    monkeypatch.setattr(module, "probe", lambda *_: pytest.fail("timed again"))
    assert decisive(train(*TIMED)) == decisive(straight)


def test_minutes_are_settled_by_the_pace_of_the_first_steps(
    train: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first guess is of a machine four times as fast as the one that then trains."""
    minutes = "pretrain.budget={minutes: 1}"
    monkeypatch.setattr(module, "probe", lambda *_: Probe(seconds_per_step=1.5, seconds=6.0, first_step_seconds=2.0))
    clock = [0.0]

    def look() -> float:
        clock[0] += 6.0
        return clock[0]

    monkeypatch.setattr(monitor.time, "perf_counter", look)
    job = train(minutes, "pretrain.evaluations=0", "pretrain.save={minutes: null}")
    assert "36 steps of 96 tokens: 1.67 epochs, as far as the first steps tell\n" in capsys.readouterr().out
    length = read_length(job.out / "plan.json")
    assert length is not None
    assert (length.before[0], length.settled) == ((11, 36), True)
    assert length.steps == len(read_metrics(job.out)) < 20
    lrs = [line["lr"] for line in read_metrics(job.out)]
    assert lrs[:11] == [WarmupStableDecay().factor(step, steps=36) for step in range(11)]
    assert lrs[11:] == [WarmupStableDecay().factor(step, steps=length.steps) for step in range(11, length.steps)]


@pytest.fixture
def slower(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first guess of 20 steps, of which 14 are left after six of them, and 12 after eight."""
    real, guessed = Length.correct, Probe(seconds_per_step=2.9, seconds=0.0, first_step_seconds=0.0)

    class Rest:
        def __init__(self, steps: int) -> None:
            self.steps_in = lambda pace, spent: steps

    def correct(self: Length, budget: Budget, *, pace: float | None, at_most: int | None) -> Length:
        return real(self, Rest((8, 4, 2, 1)[len(self.before)]), pace=1.0, at_most=at_most)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "probe", lambda *_: guessed)
    monkeypatch.setattr(Length, "correct", correct)


@pytest.mark.parametrize("kills", [(2,), (5,), (6,), (7,), (8, 9), (4, 7, 11)], ids=str)
def test_a_kill_before_or_after_settling_changes_nothing(
    kills: tuple[int, ...], train: Train, unplug: Callable[..., None], slower: None
) -> None:
    """The learning rate of a step is that of the number of steps that was known when it was first done."""
    timed = ("pretrain.budget={minutes: 1}", "pretrain.save.steps=4", "pretrain.schedule=cosine")
    straight = train(*timed, out="straight")
    lrs = [line["lr"] for line in read_metrics(straight.out)]
    wanted = [Cosine().factor(step, steps=20 if step < 6 else 14 if step < 8 else 12) for step in range(12)]
    assert lrs == wanted
    for step in kills:
        unplug(step, *timed)
    resumed = train(*timed)
    assert [line["lr"] for line in read_metrics(resumed.out)] == wanted
    assert result(resumed) == result(straight)


def test_metrics_that_are_lost_before_settling_cost_only_precision(
    train: Train, unplug: Callable[..., None], slower: None, out: Path
) -> None:
    timed = ("pretrain.budget={minutes: 1}", "pretrain.save.steps=3")
    straight = train(*timed, out="straight")
    unplug(5, *timed)
    (out / "metrics.jsonl").unlink()
    assert result(train(*timed)) == result(straight)


def test_a_run_that_goes_on_with_other_arithmetic_says_so(
    train: Train, unplug: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    unplug(7, *SHORT, "pretrain.precision=bf16")
    capsys.readouterr()
    train(*SHORT)
    line = "this run began with number type bfloat16, now float32: its weights will not be the same from then on"
    assert any(told.startswith(line) for told in capsys.readouterr().out.splitlines())
    unplug(7, *SHORT, out="same")
    train(*SHORT, out="same")
    assert "this run began" not in capsys.readouterr().out


def test_a_lost_plan_is_made_again_where_the_recipe_says_it_all(
    train: Train, unplug: Callable[..., None], out: Path
) -> None:
    straight = train(*SHORT, out="straight")
    unplug(7, *SHORT)
    plan = out / "plan.json"
    assert json.loads(plan.read_text())["length"]["steps"] == 12
    plan.write_text('{"length": ')
    assert result(train(*SHORT)) == result(straight)


def test_a_lost_plan_of_a_timed_budget_is_told(
    train: Train, unplug: Callable[..., None], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_module, "PROBE_SECONDS", 0.0)
    unplug(7, *TIMED)
    (out / "plan.json").unlink()
    with pytest.raises(CheckpointError, match=rf"^{out / 'plan.json'} is missing or damaged, [^\n]*$"):
        train(*TIMED)


def test_lost_metrics_are_no_reason_to_fail(train: Train, unplug: Callable[..., None], out: Path) -> None:
    straight = train(*SHORT, out="straight")
    unplug(7, *SHORT)
    (out / "metrics.jsonl").unlink()
    shutil.rmtree(out / "tensorboard")
    resumed = train(*SHORT)
    lines = read_metrics(out)
    assert [line["step"] for line in lines] == list(range(7, 13))
    assert lines[-1]["tokens"] == read_metrics(straight.out)[-1]["tokens"]
    assert result(resumed) == result(straight)


@pytest.mark.parametrize("lr", ["1.0e+10", "1.0e+38"])
def test_divergence_ends_with_a_line_and_no_bad_checkpoint(lr: str, train: Train, out: Path) -> None:
    wild = (*SHORT, f"pretrain.optimizer={{use: adamw, lr: {lr}}}", "pretrain.save.steps=1", "pretrain.clip=none")
    with pytest.raises(
        DanluError, match=r"^the training has diverged, also after going back 3 times [^\n]* step[^\n]*$"
    ):
        train(*wild)
    assert not (out / "model").exists()
    for path in checkpoints(out / "checkpoints"):
        assert all(bool(weight.isfinite().all()) for weight in load_model(path).parameters())


def test_a_full_disk_is_an_error_only_at_the_end(
    train: Train, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def save(folder: Path, state: Any, *arguments: Any, **settings: Any) -> Path:
        if state.step > 3:
            raise OutputError(f"cannot write to {folder}: no space left on the disk")
        return save_checkpoint(folder, state, *arguments, **settings)

    straight = train(*SHORT, out="straight")
    with monkeypatch.context() as patch, pytest.raises(OutputError, match=r"^the last checkpoint could not be saved"):
        patch.setattr(saving, "save_checkpoint", save)
        train(*SHORT)
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("could not save")]
    assert [line.split("(")[0] for line in told] == [f"could not save a checkpoint at step {n} " for n in (6, 9, 12)]
    assert [path.name for path in checkpoints(out / "checkpoints")] == ["step-00000003"]
    assert not (out / "model").exists()
    assert result(train(*SHORT)) == result(straight)


@pytest.mark.parametrize("optimizer", [AdamW, Muon])
def test_going_on_with_another_learning_rate_takes_it_and_keeps_the_moments(
    optimizer: Any, make_training: Callable[..., Training], tmp_path: Path
) -> None:
    before, after = make_training(optimizer=optimizer(lr=0.25)), make_training(optimizer=optimizer(lr=0.5), seed=9)
    fit(before.model, before.batches, CausalLM(), before.optimizer, lambda step: 1.0, steps=3)
    state = TrainingState(3, 30, before.masters.state(), before.optimizer.state_dict())
    save_checkpoint(tmp_path, state, before.model.config)
    found = load_newest(tmp_path, pytest.fail)
    assert found is not None
    after.restore(found)
    assert (found.step, after.history.tokens) == (3, 30)
    assert after.optimizer.param_groups[0]["lr_scale"] == 0.5
    assert after.optimizer.param_groups[0].get("step") == before.optimizer.param_groups[0].get("step")
    [was, now] = [each.optimizer.state_dict()["state"] for each in (before, after)]
    assert all(torch.equal(now[key][name], was[key][name]) for key in was for name in was[key])


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["pretrain.model.dim=64"], r"holds another model: embedding\.weight is \[\d+, 32\] there, \[\d+, 64\] in"),
        (
            ["pretrain.model.layers=1"],
            r"holds another model: decoder\.blocks\.1\.[^ ]* is \[[^]]*\] there, nothing in the recipe",
        ),
        (["pretrain.optimizer=adamw"], r"holds the state of another optimizer than the recipe's$"),
        (["pretrain.layer_decay=0.5"], r"holds the state of another optimizer than the recipe's$"),
        (["pretrain.budget.steps=4"], r"stands at step 6, behind the 4 of pretrain\.budget$"),
    ],
)
def test_a_checkpoint_that_the_new_settings_cannot_go_on_from_is_one_clear_line(
    overrides: list[str], problem: str, train: Train, unplug: Callable[..., None]
) -> None:
    unplug(7, *SHORT)
    with pytest.raises(CheckpointError, match=problem) as caught:
        train(*SHORT, *overrides)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("more", ["centered: true", "momentum: 0.9"])
def test_means_that_were_not_kept_are_missed(more: str, train: Train, unplug: Callable[..., None]) -> None:
    plain = [*SHORT, "pretrain.optimizer={use: rmsprop}"]
    unplug(7, *plain)
    with pytest.raises(CheckpointError, match=r"holds the state of another optimizer than the recipe's$"):
        train(*plain, f"pretrain.optimizer={{use: rmsprop, {more}}}")


def test_going_on_with_more_steps_does_them(train: Train, unplug: Callable[..., None]) -> None:
    unplug(7, *SHORT)
    longer = train(*SHORT, "pretrain.budget.steps=20")
    assert [line["step"] for line in read_metrics(longer.out)] == list(range(1, 21))
    assert checkpoints(longer.out / "checkpoints")[-1].name == "step-00000020"

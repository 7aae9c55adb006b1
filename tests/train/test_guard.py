"""What would spoil the weights is left out and leaves no trace; what keeps coming takes the training back."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from outcome import result
from poison import Poisoned, killed_after, poison

from danlu.errors import DanluError, Interrupted
from danlu.evaluate.curves import loss_chart, rate_chart
from danlu.log import read_metrics
from danlu.nn.hf.folder import load_model
from danlu.objectives.clm import CausalLM
from danlu.optim.ema import Averaging
from danlu.stage import Job
from danlu.train import saving
from danlu.train.checkpoint import checkpoints, save_checkpoint
from danlu.train.guard import Anomalies, DivergedError, Guard, check_finite, deviations, given_up
from danlu.train.loop import StepInfo, fit
from danlu.train.run import Run
from danlu.train.setup import Training

Train = Callable[..., Job]
KINDS = ["nan", "inf", "-inf", "gradient nan", "gradient inf", "1000", "gradient 1e6"]
SHORT = (
    "pretrain.budget.steps=14", "pretrain.save.steps=5", "pretrain.optimizer={use: adamw, lr: 0.01}",
    "pretrain.schedule={use: constant, warmup: 0}", "pretrain.anomalies.patience=3",
)  # fmt: skip


def guard(**settings: Any) -> Guard:
    return Guard(Anomalies(**settings))


def calm(count: int = 40) -> Guard:
    """One that has seen so many steps around a loss of 3 and a norm of 1."""
    known, random = guard(), np.random.default_rng(0)
    for step in range(count):
        assert known(step, 3.0 + 0.05 * random.standard_normal(), math.exp(0.2 * random.standard_normal()))
    return known


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_that_is_left_out_leaves_no_trace(
    kind: str, precision: str, make_training: Callable[..., Training], capsys: pytest.CaptureFixture[str]
) -> None:
    """The reference is a training whose batches never had the step."""

    def run(poisoned_at: int | None, steps: list[int]) -> tuple[Training, list[StepInfo]]:
        training, seen = make_training(precision=precision), list[StepInfo]()
        accept, at = training.history.guard, steps.index(poisoned_at) if poisoned_at is not None else None
        bad = Poisoned(
            CausalLM(), lambda step: training.batches(steps[step]), lambda step: kind if step == at else None
        )
        fit(training.model, bad.batches, bad, training.optimizer, lambda _: 1.0,  # type: ignore[arg-type]
            steps=len(steps), accept=accept, hooks=[seen.append])  # fmt: skip
        return training, seen

    many = list(range(22))
    without, _ = run(None, [*many, 23])
    having, seen = run(22, [*many, 22, 23])
    assert [info.skipped for info in seen] == [False] * 22 + [True, False]
    assert "step 23 is left out: its " in capsys.readouterr().out
    assert having.history.guard.state() == without.history.guard.state()
    for name, weight in without.masters.state().items():
        assert torch.equal(having.masters.state()[name], weight), name
        assert torch.equal(having.model.get_parameter(name), without.model.get_parameter(name)), name
    ours, theirs = having.optimizer.state_dict()["state"], without.optimizer.state_dict()["state"]
    assert ours.keys() == theirs.keys()
    for key, values in theirs.items():
        assert all(torch.equal(ours[key][name], value) for name, value in values.items())


def test_only_what_is_above_is_a_spike() -> None:
    assert calm()(40, 0.5, 1e-6)
    assert not calm()(40, 6.0, 1.0)
    assert not calm()(40, 3.0, 1e3)
    assert calm(10)(10, 6.0, 1e3)  # nobody knows yet what is usual
    assert not calm(10)(10, math.nan, 1.0)
    free = guard(spike=0)
    assert all(free(step, 3.0, 1.0) for step in range(40)) and free(40, 1e9, 1e9)


def test_so_many_deviations_are_those_of_a_normal_distribution() -> None:
    known = np.random.default_rng(1).normal(5.0, 0.25, 4001)
    assert deviations(5.0 + 7 * 0.25, known.tolist(), least=1e-9) == pytest.approx(7, rel=0.05)
    spoilt = np.concatenate([known, np.full(40, 1e6)])  # robust: these do not count
    assert deviations(5.0 + 7 * 0.25, spoilt.tolist(), least=1e-9) == pytest.approx(7, rel=0.15)
    assert deviations(3.0, [2.0] * 9, least=0.5) == 2.0
    mixed = [2.0] * 85 + [3.0] * 15  # one text in seven is harder
    assert deviations(3.0, mixed, least=1e-9) < 1.5


def test_nothing_is_learned_from_steps_without_targets() -> None:
    known = calm()
    before = known.state()
    assert known(40, 0.0, 0.0)
    assert known.state() == before


def test_normal_trainings_raise_no_alarm() -> None:
    """Losses from 9 to 2 with noise, log-normal norms that fall or rise with the warm-up, in batches of all sizes."""
    for seed in range(8):
        random, known = np.random.default_rng(seed), guard()
        noise = random.choice([0.0, 0.01, 0.1, 0.5])
        drift, warmup = random.choice([-1.0, 0.0, 1.0]), random.choice([1, 20, 200])
        for step in range(1500):
            loss = 2 + 7 * math.exp(-step / random.choice([30, 100, 300])) + noise * random.standard_normal()
            norm = math.exp(0.5 * random.standard_normal() + drift * step / 1500) * min(1.0, (step + 1) / warmup)
            assert known(step, max(loss, 0.0), norm), (seed, step)


def test_a_text_known_by_heart_has_harder_lines() -> None:
    """Losses near nothing, and now and then one of a nat."""
    random, known = np.random.default_rng(3), guard()
    for step in range(1000):
        loss = abs(random.normal(0.01, 0.002)) if random.random() < 0.97 else 1.0
        assert known(step, loss, math.exp(random.standard_normal() * 0.5 + 2 * (loss > 0.5))), step


def test_the_state_is_plain_json_and_comes_back() -> None:
    known = calm(30)
    assert not known(30, math.nan, 1.0)
    again = guard()
    again.load(json.loads(json.dumps(known.state())))
    assert again.state() == known.state()
    assert again.in_a_row == 1
    again.load({})
    assert again.state() == guard().state()


def test_the_last_of_a_row_is_one_too_many(capsys: pytest.CaptureFixture[str]) -> None:
    known = guard(patience=3)
    assert [known(step, loss, 1.0) for step, loss in enumerate([3.0, math.nan, math.nan, 3.0, math.nan])] == [
        True, False, False, True, False,
    ]  # fmt: skip
    assert not known(5, math.nan, 1.0)
    with pytest.raises(DivergedError, match=r"^3 steps in a row were left out, the last one, step 7: its loss is nan$"):
        known(6, math.nan, 1.0)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_weights_that_are_no_numbers_are_refused(number: float) -> None:
    check_finite([torch.ones(2), torch.zeros(3, dtype=torch.bfloat16)], step=3)
    with pytest.raises(DivergedError, match=r"after step 3$"):
        check_finite([torch.ones(2), torch.tensor([0.0, number])], step=3)


def test_moments_that_overflow_are_refused(make_training: Callable[..., Training]) -> None:
    training = make_training()
    fit(training.model, training.batches, CausalLM(), training.optimizer, lambda _: 1.0, steps=1)
    training.state(1)
    next(iter(training.optimizer.state.values()))["exp_avg_sq"].view(-1)[0] = math.inf
    with pytest.raises(DivergedError):
        training.state(1)


def strict(line: str) -> Any:
    return json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@pytest.mark.parametrize("kind", ["nan", "gradient inf"])
def test_it_is_said_and_measured(
    kind: str, train: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    poison(monkeypatch, [4, 14], kind)
    job = train(*SHORT)
    told = [line for line in capsys.readouterr().out.splitlines() if "left out" in line]
    assert [line.partition(":")[0] for line in told] == ["step 4 is left out", "step 14 is left out"]
    lines = [strict(line) for line in (job.out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line.get("skipped")] == [4, 14]
    assert [line["step"] for line in lines if "loss" in line] == [
        step for step in range(1, 15) if kind != "nan" or step not in (4, 14)
    ]
    assert lines[3]["tokens"] > lines[2]["tokens"]
    assert loss_chart(lines, width=300, height=200) and rate_chart(lines, width=300, height=200)


@pytest.mark.parametrize("again", [False, True], ids=["new", "resumed"])
def test_the_figures_have_the_last_loss_that_was_a_number(
    again: bool, make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, [14], "nan")
    job = make_job(*SHORT)
    stage: Any = job.recipe.section("pretrain")
    figures = stage.run(job)
    if again:
        figures = stage.run(job)
    assert figures["loss"] == read_metrics(job.out)[12]["loss"]
    strict(json.dumps(figures))


def test_it_goes_back_to_the_last_checkpoint_and_on_with_half_the_rate(
    train: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    poison(monkeypatch, range(7, 11), "nan", above_lr=0.9)
    job = train(*SHORT)
    told = capsys.readouterr().out
    assert ("3 steps in a row were left out, the last one, step 9: its loss is nan; going back, with 0.5 of the "
            "learning rate\ngoing on after step 5\n") in told  # fmt: skip
    lines = read_metrics(job.out)
    assert [line["step"] for line in lines] == list(range(1, 15))
    assert [line["lr"] for line in lines] == [1.0] * 5 + [0.5] * 9
    assert not any("skipped" in line for line in lines)


@pytest.mark.parametrize(
    ("step", "setbacks", "background"),
    [(3, 0, False), (8, 0, False), (8, 0, True), (6, 1, False), (9, 1, True), (11, 1, False)],
)
def test_a_kill_before_or_after_going_back_changes_nothing(
    step: int, setbacks: int, background: bool, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, range(7, 11), "inf", above_lr=0.9)
    settings = (*SHORT, f"pretrain.save.background={str(background).lower()}")
    straight = train(*SHORT, out="straight")

    with killed_after(step, setbacks=setbacks):
        train(*settings)
    assert result(train(*settings)) == result(straight)


def test_a_kill_after_going_back_keeps_the_lower_rate_also_where_nothing_goes_wrong_again(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, killed_after(7, setbacks=1):
        poison(patch, range(7, 11), "nan", above_lr=0.9)
        train(*SHORT)
    lines = read_metrics(train(*SHORT).out)
    assert [line["lr"] for line in lines] == [1.0] * 5 + [0.5] * 9


@pytest.mark.parametrize(
    "optimizer", ["{{use: adamw, lr: {0}}}", "{{use: muon, lr: {0}, adamw_lr: {0}}}", "{{use: soap, lr: {0}}}"]
)
def test_before_the_first_checkpoint_it_goes_back_to_the_first_weights(
    optimizer: str, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reference is a training that had half the learning rate from the start."""
    with monkeypatch.context() as patch:
        poison(patch, [2, 3, 4], "gradient nan", above_lr=0.9)
        job = train(*SHORT, f"pretrain.optimizer={optimizer.format(0.01)}")
    half = train(*SHORT, f"pretrain.optimizer={optimizer.format(0.005)}", out="half")
    assert result(job)["model/model.safetensors"] == result(half)["model/model.safetensors"]


def test_what_is_being_written_is_waited_for(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the training would go back further than the newest checkpoint, and meet that one again later."""
    poison(monkeypatch, [7, 8, 9], "nan", above_lr=0.9)

    def slow(*arguments: Any, **settings: Any) -> Path:
        time.sleep(0.4)
        return save_checkpoint(*arguments, **settings)

    straight = train(*SHORT, out="straight")
    monkeypatch.setattr(saving, "save_checkpoint", slow)
    assert result(train(*SHORT, "pretrain.save.background=true")) == result(straight)


def test_no_checkpoint_is_of_a_bad_stretch(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even of its beginning: going back to it would not help."""
    poison(monkeypatch, [6, 7, 8], "nan", above_lr=0.9)
    saved: list[tuple[int, float]] = []

    def note(folder: Path, state: Any, *arguments: Any, **settings: Any) -> Path:
        saved.append((state.step, state.history["setbacks"]))
        return save_checkpoint(folder, state, *arguments, **settings)

    monkeypatch.setattr(saving, "save_checkpoint", note)
    train(*SHORT, "pretrain.save.steps=1", "pretrain.budget.steps=9")
    assert saved == [(1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 1), (7, 1), (8, 1), (9, 1)]


def test_it_ends_with_one_line_where_going_back_does_not_help(
    train: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    straight = train(*SHORT, "pretrain.budget.steps=5", out="straight")
    poison(monkeypatch, range(7, 11), "nan")
    for _ in range(2):  # also when it is tried again
        with pytest.raises(
            DanluError,
            match=r"^the training has diverged, also after going back 2 times [^\n]*: 3 steps in a row [^\n]*$",
        ) as caught:
            train(*SHORT, "pretrain.anomalies.rewinds=2")
        assert caught.value.exit_code == 2
    kept = checkpoints(tmp_path / "pretrain" / "checkpoints")
    assert [path.name for path in kept] == ["step-00000005"]
    good = load_model(straight.out / "model").state_dict()
    assert all(torch.equal(weight, good[name]) for name, weight in load_model(kept[0]).state_dict().items())


def test_an_average_that_is_no_number_is_found(make_training: Callable[..., Training]) -> None:
    """It is what the model is in the end; a bit that flips in memory once went there unseen."""
    training = make_training(average=Averaging())
    assert training.average is not None and training.state(3).step == 3
    next(iter(training.average.average.values())).view(-1)[0] = math.nan
    with pytest.raises(DivergedError, match=r"^weights are no longer finite after step 4$"):
        training.state(4)


def test_the_end_names_the_section_that_trains() -> None:
    said = str(given_up(DivergedError("spikes"), rewinds=0, section="finetune"))
    assert said.startswith("the training has diverged: spikes; lower the learning rates in finetune.optimizer; ")


def test_going_back_may_be_forbidden(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    poison(monkeypatch, [2, 3, 4], "nan")
    with pytest.raises(DanluError, match=r"^the training has diverged: 3 steps in a row"):
        train(*SHORT, "pretrain.anomalies.rewinds=0")


def test_a_request_to_stop_amid_bad_steps_waits_for_a_good_one(
    train: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is saved then is what an undisturbed training has at that step."""
    poison(monkeypatch, [7, 8, 9], "nan", above_lr=0.9)
    straight = train(*SHORT, out="straight")
    real = Run._saver

    def asked(self: Run, stop: Any, writer: Any) -> Any:
        self.training.model.register_forward_hook(  # the first pass of step 8, counted by the metrics so far
            lambda *_: setattr(stop, "signal", 15) if len(read_metrics(self.out)) == 7 else None
        )
        return real(self, stop, writer)

    with monkeypatch.context() as patch, pytest.raises(Interrupted, match="after step 6"):
        patch.setattr(Run, "_saver", asked)
        train(*SHORT)
    assert result(train(*SHORT)) == result(straight)

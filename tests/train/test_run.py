"""Whole trainings that stop early, average, or change rate and dropout on the way: the same however often killed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from outcome import result
from poison import poison
from torch import Tensor

from danlu.errors import OutputError, RecipeError
from danlu.generate.engine import generate
from danlu.generate.sampling import Sampling
from danlu.log import read_metrics
from danlu.nn.hf.folder import load_model
from danlu.optim.schedules import Plateau
from danlu.stage import Job
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.train import stopping
from danlu.train.checkpoint import checkpoints, load_newest
from danlu.train.length import read_length
from danlu.train.loop import StepInfo
from danlu.train.monitor import Heldout, Measured
from danlu.train.run import Run
from danlu.train.saving import Saver
from danlu.train.setup import Training
from danlu.train.stopping import BestWeights, without_gain

Train = Callable[..., Job]
BASE = (
    "pretrain.budget.steps=20", "pretrain.save.steps=5", "pretrain.evaluations=10",
    "pretrain.optimizer={use: adamw, lr: 0.01}", "pretrain.schedule={use: constant, warmup: 0}",
)  # fmt: skip
EARLY = (*BASE, "pretrain.early_stopping={patience: 3}")
LOSSES = {2: 3.0, 4: 2.5, 6: 2.2, 8: 2.6, 10: 2.3, 12: 2.4}
"""The best is that of step 6; step 12 is the third without a gain."""


class Killed(BaseException):
    """No handler of ours may catch it."""


@pytest.fixture
def foretold(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[int, float]], None]:
    """Held-out losses by the step; what the weights then were is kept in ``foretold.seen``."""

    def tell(losses: dict[int, float]) -> None:
        real = Run._heldout_loss

        def heldout_loss(self: Run) -> Callable[[], Measured]:
            measured = real(self)

            def loss() -> Measured:
                measured()
                known = self.training.history.heldout
                return Measured(losses[known[-1][0] + 2 if known else 2])

            return loss

        monkeypatch.setattr(Run, "_heldout_loss", heldout_loss)

    return tell


def weights(folder: Path) -> dict[str, Tensor]:
    return dict(load_model(folder).state_dict())


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def killed(train: Train, step: int, where: type = Training, name: str = "after_step", *settings: str) -> None:
    real = getattr(where, name)

    def hook(self: Any, *arguments: Any, **settings: Any) -> Any:
        info = arguments[0] if arguments else None
        at = info.step if isinstance(info, StepInfo) else info
        if at == step or step < 0:
            raise Killed
        return real(self, *arguments, **settings)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(where, name, hook)
        train(*settings)


def test_gains_are_counted_over_all_before() -> None:
    assert without_gain([], gain=0) == 0
    assert without_gain([3.0, 2.0, 2.5, 2.0], gain=0) == 2
    assert without_gain([3.0, 2.95, 2.9, 2.85], gain=0.1) == 0  # 2.85 is one over 3.0
    assert without_gain([3.0, 2.95, 2.91], gain=0.1) == 2
    assert without_gain([3.0, float("nan"), float("nan")], gain=0) == 2


@pytest.mark.parametrize("average", [False, True], ids=["", "averaged"])
def test_early_stopping_ends_with_the_weights_of_the_best_step(
    average: bool, make_job: Callable[..., Job], train: Train, foretold: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The reference: a training of as many steps as the best one has."""
    more = ("pretrain.average={decay: 0.5}",) if average else ()
    straight = train(*BASE, *more, "pretrain.budget.steps=6", "pretrain.evaluations=0", out="six")
    foretold(LOSSES)
    job = make_job(*EARLY, *more)
    figures = job.recipe.section("pretrain").run(job)  # type: ignore[attr-defined]
    assert same(weights(job.out / "model"), weights(straight.out / "model"))
    assert {name: figures[name] for name in ("steps", "best_step", "stopped_early")} == {
        "steps": 12, "best_step": 6, "stopped_early": "yes",
    }  # fmt: skip
    told = "no gain in 3 measurements: stopping after step 12; the result is step 6\n"
    assert told in capsys.readouterr().out
    assert [line["step"] for line in read_metrics(job.out)] == list(range(1, 13))
    assert [path.name for path in checkpoints(job.out / "checkpoints")] == ["step-00000010", "step-00000012"]
    again = job.recipe.section("pretrain").run(job)  # type: ignore[attr-defined]
    assert (again["best_step"], again["stopped_early"], again["steps"]) == (6, "yes", 12)


def test_a_training_that_gains_to_the_end_has_its_best_weights_too(
    make_job: Callable[..., Job], train: Train, foretold: Callable[..., None]
) -> None:
    foretold({step: 2.0 if step == 18 else 3.0 - step / 100 for step in range(2, 22, 2)})
    job = make_job(*EARLY)
    figures = job.recipe.section("pretrain").run(job)  # type: ignore[attr-defined]
    assert (figures["steps"], figures["best_step"], figures["stopped_early"]) == (20, 18, "no")
    straight = train(*BASE, "pretrain.budget.steps=18", "pretrain.evaluations=0", out="straight")
    assert same(weights(job.out / "model"), weights(straight.out / "model"))


@pytest.mark.parametrize(
    ("step", "where", "name"),
    [(6, BestWeights, "__call__"), (6, Saver, "__call__"), (7, Training, "after_step"), (11, Training, "after_step"),
     (12, BestWeights, "__call__"), (12, Saver, "finish"), (-1, BestWeights, "best")],
    ids=["before the best is kept", "after it is kept", "before it is in a checkpoint", "after", "before the end is "
         "known", "after the plan is rewritten", "after the last checkpoint"],
)  # fmt: skip
def test_a_kill_anywhere_changes_nothing_in_early_stopping(
    step: int, where: type, name: str, train: Train, foretold: Callable[..., None]
) -> None:
    foretold(LOSSES)
    straight = train(*EARLY, out="straight")
    killed(train, step, where, name, *EARLY)
    resumed = train(*EARLY)
    assert result(resumed) == result(straight)
    assert read_length(resumed.out / "plan.json") == read_length(straight.out / "plan.json")
    assert not (resumed.out / "best" / ".step-00000006.partial").exists()


def test_going_back_does_not_lose_the_best_weights(
    train: Train, foretold: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Step 8 measures best, and then comes to nothing: the training goes back to step 5, whose best is step 4."""
    straight = train(*BASE, "pretrain.budget.steps=4", "pretrain.evaluations=0", out="four")
    losses = {2: 3.0, 4: 2.5, 6: 2.6, 8: 2.0}

    class Twice(dict[int, float]):
        def __getitem__(self, step: int) -> float:
            if step == 8 and losses.get(8) == 2.0:
                losses[8] = 2.9
                return 2.0
            return losses.get(step, 2.9)

    foretold(Twice())
    poison(monkeypatch, range(9, 14), "nan", above_lr=0.9)
    job = train(*EARLY)
    assert same(weights(job.out / "model"), weights(straight.out / "model"))


def test_few_of_the_best_weights_are_kept(train: Train, foretold: Callable[..., None]) -> None:
    foretold({step: 3.0 - step / 100 for step in range(2, 22, 2)})
    job = train(*EARLY, "pretrain.save.steps=3")
    assert sorted(path.name for path in (job.out / "best").iterdir()) == [f"step-{n:08d}" for n in (14, 18, 20)]


def test_a_disk_without_room_for_them_is_told(
    train: Train, foretold: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OutputError("no room")

    foretold(LOSSES)
    monkeypatch.setattr(stopping, "put_weights", refuse)
    train(*EARLY)
    told = capsys.readouterr().out
    assert "could not keep the best weights so far (no room); training goes on\n" in told
    assert "the weights of step 6, the best, were not kept: the result is the last step\n" in told


def test_early_stopping_without_measurements_is_refused(make_job: Callable[..., Job]) -> None:
    with pytest.raises(RecipeError, match=r"^pretrain: early_stopping needs [^\n]*evaluations must be at least 1"):
        make_job(*EARLY, "pretrain.evaluations=0")


def test_a_plateau_that_nobody_would_see_is_refused(make_job: Callable[..., Job]) -> None:
    with pytest.raises(RecipeError, match=r"^pretrain: schedule plateau needs [^\n]*evaluations must be at least 1"):
        make_job("pretrain.schedule=plateau", "pretrain.evaluations=0")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_average_is_what_is_measured_and_what_the_model_is(
    precision: str, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reference: torch's own average over the weights after every step."""
    settings = (*BASE, "pretrain.budget.steps=6", "pretrain.evaluations=3", f"pretrain.precision={precision}")
    averaged = (*settings, "pretrain.average={decay: 0.75, warmup: false}")
    steps: list[dict[str, Tensor]] = []
    measured: list[dict[str, Tensor]] = []

    def note(self: Training, info: StepInfo) -> None:
        steps.append({name: weight.clone() for name, weight in self.masters.state().items()})

    real = Heldout.measure

    def look(self: Heldout, model: Any) -> Measured:
        measured.append({name: weight.detach().clone() for name, weight in model.named_parameters()})
        return real(self, model)

    first: dict[str, Tensor] = {}
    real_take_up = Run._take_up

    def take_up(self: Run) -> int:
        step = real_take_up(self)
        first.update({name: weight.clone() for name, weight in self.training.masters.state().items()})
        return step

    with monkeypatch.context() as patch:
        patch.setattr(Training, "after_step", note)
        patch.setattr(Run, "_take_up", take_up)
        train(*settings, out="plain")
    with monkeypatch.context() as patch:
        patch.setattr(Heldout, "measure", look)
        job = train(*averaged)
    expected = dict(first)
    wanted = []
    for weights_now in steps:
        expected = {name: torch.lerp(value, weights_now[name], 0.25) for name, value in expected.items()}
        wanted.append(expected)
    assert len(measured) == 3
    for found, known in zip(measured, wanted[1::2], strict=True):
        for name, value in found.items():
            torch.testing.assert_close(
                value, known[name].to(value.dtype), rtol=1e-2 if precision == "bf16" else 1e-5, atol=1e-6
            )
    model = dict(load_model(job.out / "model").named_parameters())
    for name, value in expected.items():
        torch.testing.assert_close(model[name].detach(), value, rtol=1e-5, atol=1e-6)
    state = load_newest(job.out / "checkpoints", pytest.fail)
    assert state is not None
    assert all(torch.equal(state.weights[name], value) for name, value in steps[-1].items())  # and trained on as ever


def test_an_average_that_is_asked_for_later_begins_with_the_weights_of_then(train: Train) -> None:
    """The reference: the average by its definition, of the weights that the same steps without one have."""
    killed(train, 8, Training, "after_step", *BASE, "pretrain.budget.steps=10")
    seen: list[dict[str, Tensor]] = []
    real = Training.after_step

    def look(self: Training, info: StepInfo) -> None:
        if not seen:  # the step after the checkpoint of step 5
            assert info.step == 6
        real(self, info)
        seen.append({name: weight.clone() for name, weight in self.masters.state().items()})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "after_step", look)
        job = train(*BASE, "pretrain.budget.steps=10", "pretrain.average={decay: 0.75, warmup: false}")
    five = load_model(job.out / "checkpoints" / "step-00000005")
    expected = {name: weight.detach() for name, weight in five.named_parameters()}
    for after in seen:
        expected = {name: 0.75 * value + 0.25 * after[name] for name, value in expected.items()}
    for name, weight in load_model(job.out / "model").named_parameters():
        torch.testing.assert_close(weight.detach(), expected[name], rtol=1e-5, atol=1e-6)


MORE = {
    "average, bf16": ("pretrain.average={decay: 0.9}", "pretrain.precision=bf16"),
    "plateau": ("pretrain.schedule={use: plateau, patience: 0, gain: 0.5, warmup: 0}",),
    "dropout": ("pretrain.model={use: gpt2, layers: 2, dim: 32, heads: 2, dropout: 0.3}",
                "pretrain.dropout_schedule={use: late, begin: 0.3, levels: 3}"),
    "lion": ("pretrain.optimizer=lion",),
    "soap": ("pretrain.optimizer={use: soap, frequency: 2}",),
    "recompute": ("pretrain.hardware.recompute=true", "pretrain.precision=bf16"),
}  # fmt: skip


@pytest.mark.parametrize("more", MORE.values(), ids=MORE)
def test_resumed_is_uninterrupted(more: tuple[str, ...], train: Train) -> None:
    straight = train(*BASE, *more, out="straight")
    killed(train, 7, Training, "after_step", *BASE, *more)
    torch.manual_seed(99)
    resumed = train(*BASE, *more)
    assert result(resumed) == result(straight)
    left = ("seconds", "tokens_per_second")
    ours, theirs = ([{k: v for k, v in line.items() if k not in left} for line in read_metrics(job.out)]
                    for job in (resumed, straight))  # fmt: skip
    assert ours == theirs


def test_the_rate_falls_when_held_out_text_stalls(train: Train, foretold: Callable[..., None]) -> None:
    losses = {2: 3.0, 4: 2.0, 6: 2.1, 8: 2.1, 10: 1.0, 12: 1.0, 14: 1.0, 16: 1.0, 18: 1.0, 20: 1.0}
    foretold(losses)
    job = train(*BASE, "pretrain.schedule={use: plateau, patience: 1, shrink: 0.5, warmup: 0}")
    rates = [line["lr"] for line in read_metrics(job.out)]
    # Two without a gain at 8, at 14 and at 18.
    assert rates == [1.0] * 8 + [0.5] * 6 + [0.25] * 4 + [0.125] * 2
    assert rates == [Plateau(patience=1, warmup=0).factor(n, steps=20, heldout=list(losses.items())) for n in range(20)]


def test_the_dropout_of_a_step_is_that_of_its_schedule(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []

    def note(self: Training, info: StepInfo) -> None:
        seen.append(self.model.blocks[0].dropout)

    monkeypatch.setattr(Training, "after_step", note)
    train(*BASE, "pretrain.model={use: gpt2, layers: 2, dim: 32, heads: 2, dropout: 0.4}",
          "pretrain.dropout_schedule={use: early, until: 0.5, levels: 2}")  # fmt: skip
    assert seen == [0.4] * 5 + [0.2] * 5 + [0.0] * 10


def test_spare_rows_of_the_vocabulary_are_nobody(train: Train, packed: Path) -> None:
    """The folder loads in stock transformers, whose logits are ours; a spare row is never written."""
    from transformers import AutoModelForCausalLM

    job = train(*BASE, "pretrain.hardware.vocab_multiple=64")
    size = json.loads((packed / "run" / "pack" / "train" / "store.json").read_text())["vocab_size"]
    model = load_model(job.out / "model")
    assert model.config.vocab_size == 64 > size
    stock = AutoModelForCausalLM.from_pretrained(job.out / "model", dtype=torch.float32)
    tokens_BT = torch.arange(size)[None, :20]
    with torch.no_grad():
        logits = model.head(model(tokens_BT))
        torch.testing.assert_close(logits, stock(tokens_BT).logits, rtol=1e-5, atol=1e-5)
        assert float(logits.softmax(-1)[..., size:].sum(-1).mean()) < 0.2
        tokenizer = Tokenizer.load(job.out / "model")
        settings = Sampling(max_tokens=20)
        before = generate(model, tokenizer, ["to be", "or", "the"], settings=settings, seed=1)
        model.head.weight[size:] = 100 * model.head.weight[:1]  # could they answer, they often would
        after = generate(model, tokenizer, ["to be", "or", "the"], settings=settings, seed=1)
    assert before == after

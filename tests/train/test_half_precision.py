"""float16 with a scaled loss, and masters kept off the device: the same training as float32, or near enough."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch

from danlu.errors import RecipeError
from danlu.nn import int8, speed
from danlu.nn.int8 import Int8Linear
from danlu.nn.speed import choose_device, choose_dtype, choose_training_dtype
from danlu.objectives.clm import CausalLM
from danlu.optim.adamw import AdamW
from danlu.train import precision
from danlu.train.guard import DivergedError
from danlu.train.loop import StepInfo, fit
from danlu.train.precision import FloatMasters, LossScale
from danlu.train.settings import Hardware, TrainSettings
from danlu.train.setup import Training, first_weights

MakeTraining = Callable[..., Training]


def steps(training: Training, count: int, *, start: int = 0) -> list[StepInfo]:
    seen: list[StepInfo] = []
    fit(
        training.model, training.batches, CausalLM(), training.optimizer, lambda _: 1.0, steps=count, start=start,
        masters=training.masters, accept=training.accept, hooks=[seen.append],
    )  # fmt: skip
    return seen


def test_scaled_gradients_are_those_of_float32(make_training: MakeTraining) -> None:
    half, single = make_training(precision="fp16"), make_training(precision="fp32")
    assert half.masters.scale is not None
    half.masters.scale.value = 1024.0
    for training in (half, single):
        batch = training.batches(0)[0]
        loss = CausalLM().losses(training.model, batch)["words"] / batch.counts["words"]
        training.masters.backward(loss)
    for name, weight in half.masters.named.items():
        grad, wanted = weight.grad, single.masters.named[name].grad
        assert grad is not None and wanted is not None and grad.dtype == torch.float32
        assert (grad - wanted).norm() <= 0.02 * wanted.norm() + 1e-6, name
    assert next(half.model.parameters()).dtype == torch.float16


def test_small_gradients_are_lost_without_the_scale() -> None:
    def gradient(scale: float) -> float:
        layer = torch.nn.Linear(1, 1, bias=False)
        masters = FloatMasters(layer, torch.float16)
        assert masters.scale is not None
        masters.scale.value = scale
        masters.backward((layer(torch.ones(1, 1, dtype=torch.float16)) * 1e-4 * 1e-4).sum())
        return float(masters.named["weight"].grad)  # type: ignore[arg-type]

    assert gradient(1.0) == 0.0
    assert gradient(2.0**12) == pytest.approx(1e-8, rel=0.01)


def test_an_overflow_halves_the_scale_and_leaves_the_step_out(
    make_training: MakeTraining, capsys: pytest.CaptureFixture[str]
) -> None:
    training = make_training(precision="fp16")
    assert training.masters.scale is not None
    training.masters.scale.value = 2.0**24
    before = {name: weight.clone() for name, weight in training.masters.state().items()}
    first, *others = steps(training, 20)
    assert first.skipped and not math.isfinite(first.grad_norm) and math.isfinite(first.loss)
    assert training.masters.scale.value < 2.0**24
    assert not others[-1].skipped
    told = "step 1 is left out: its gradient overflows float16; its loss was scaled by 1.67772e+07"
    left_out = [each.step for each in (first, *others) if each.skipped]
    assert capsys.readouterr().out.splitlines()[0] == told
    assert training.masters.scale.value == 2.0 ** (24 - len(left_out))
    assert training.history.guard.in_a_row == 0  # an overflow is no anomaly
    assert any(not torch.equal(weight, before[name]) for name, weight in training.masters.state().items())


def test_the_scale_grows_after_a_while_without_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "GROWS_AFTER", 3)
    scale = LossScale(8.0)
    assert [scale.fits(1.0) for _ in range(3)] == [True] * 3
    assert (scale.value, scale.steps) == (16.0, 0)
    assert not scale.fits(math.nan)
    assert (scale.value, scale.steps) == (8.0, 0)
    assert not LossScale(1.0).fits(math.inf)  # and never below 1


def test_a_resumed_float16_training_is_the_uninterrupted_one(make_training: MakeTraining) -> None:
    straight, begun, resumed = (make_training(precision="fp16") for _ in range(3))
    steps(straight, 8)
    steps(begun, 5)
    resumed.restore(begun.state(5))
    steps(resumed, 8, start=5)
    assert resumed.masters.scale == straight.masters.scale
    for name, weight in straight.masters.state().items():
        assert torch.equal(weight, resumed.masters.state()[name]), name


def test_gradients_that_no_scale_makes_finite_are_the_guards_business(make_training: MakeTraining) -> None:
    training = make_training(precision="fp16")
    assert training.masters.scale is not None
    taken = [training.accept(step, 3.0, math.nan) for step in range(16)]  # from 2 ** 16 down to 1
    assert not any(taken) and training.masters.scale.value == 1.0
    assert training.history.guard.in_a_row == 0
    with pytest.raises(
        DivergedError, match=r"^5 steps in a row were left out, [^\n]*: its norm of the gradient is nan$"
    ):
        for step in range(16, 21):
            assert not training.accept(step, 3.0, math.nan)


def test_the_first_weights_have_the_first_scale(make_training: MakeTraining) -> None:
    training = make_training(precision="fp16")
    training.accept(0, 3.0, math.inf)
    assert training.masters.scale != LossScale()
    first_weights(training, TrainSettings(optimizer=AdamW()))
    assert training.masters.scale == LossScale()


def test_float16_may_begin_at_a_checkpoint_of_another_type(make_training: MakeTraining) -> None:
    wide, narrow = make_training(), make_training(precision="fp16")
    steps(wide, 3)
    narrow.accept(0, 3.0, math.inf)
    narrow.restore(wide.state(3))
    assert narrow.masters.scale == LossScale()
    for name, weight in wide.masters.state().items():
        assert torch.equal(weight, narrow.masters.state()[name]), name


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_masters_elsewhere_change_nothing(dtype: str, make_training: MakeTraining) -> None:
    """On one device offloading is the same arithmetic; where there is a GPU it is run by the tests marked so."""
    here, elsewhere = make_training(precision=dtype), make_training(precision=dtype, hardware=Hardware(offload=True))
    for training in (here, elsewhere):
        steps(training, 4)
    for name, weight in here.masters.state().items():
        assert torch.equal(weight, elsewhere.masters.state()[name]), name


@pytest.mark.filterwarnings("ignore:.*Function.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("compile", ["off", "on"])
def test_products_of_int8_learn_what_float32_learns(
    compile: str, make_training: MakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "fast_int8", lambda: "avx512_vnni")
    whole, single = (make_training(precision=each, compile=compile) for each in ("int8", "fp32"))
    assert any(isinstance(layer, Int8Linear) for layer in whole.model.modules())
    found, wanted = ([info.loss for info in steps(training, 30)] for training in (whole, single))
    assert found == pytest.approx(wanted, rel=2e-2)
    assert found != wanted
    assert wanted[-1] < 0.9 * wanted[0]
    assert all(weight.dtype == torch.float32 for weight in whole.masters.state().values())


@pytest.mark.filterwarnings("ignore:.*Function.*should not be instantiated:DeprecationWarning")
def test_int8_recomputed_is_the_same(make_training: MakeTraining, monkeypatch: pytest.MonkeyPatch) -> None:
    """By rows each product rounds its two factors, once more where they are made again, and its gradient once."""
    monkeypatch.setattr(speed, "fast_int8", lambda: "avx512_vnni")
    roundings, real = Counter[bool](), int8.rounded
    found: dict[bool, tuple[list[float], dict[str, torch.Tensor]]] = {}
    for again in (False, True):

        def counted(x: torch.Tensor, again: bool = again) -> tuple[torch.Tensor, torch.Tensor]:
            roundings[again] += 1
            return real(x)

        monkeypatch.setattr(int8, "rounded", counted)
        training = make_training(precision="int8", compile="off", hardware=Hardware(recompute=again))
        losses = [info.loss for info in steps(training, 10)]
        found[again] = losses, {name: weight.clone() for name, weight in training.masters.state().items()}
    assert found[True][0] == found[False][0]
    for name, weight in found[False][1].items():
        assert torch.equal(found[True][1][name], weight), name
    assert roundings[True] / roundings[False] == 5 / 3


@pytest.mark.gpu
@pytest.mark.parametrize("offload", [False, True])
@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
def test_a_gpu_learns_what_a_processor_learns(dtype: str, offload: bool, make_training: MakeTraining) -> None:
    there = make_training(precision=dtype, hardware=Hardware(device="cuda", offload=offload))
    here = make_training(precision="fp32", hardware=Hardware(device="cpu"))
    assert next(there.model.parameters()).device.type == "cuda"
    assert next(iter(there.masters.named.values())).device.type == ("cpu" if offload else "cuda")
    losses = [[info.loss for info in steps(training, 10)] for training in (there, here)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4 if dtype == "fp32" else 0.03)


def test_what_there_is_not_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto").type == "cpu"
    with pytest.raises(
        RecipeError, match=r"^pretrain\.hardware\.device is cuda, and torch finds no GPU here \(choices: auto, cpu\)$"
    ):
        choose_device("cuda")


@pytest.mark.parametrize(("generation", "wanted"), [((7, 5), torch.float16), ((8, 0), torch.bfloat16)])
def test_a_gpu_computes_in_what_it_multiplies(
    generation: Any, wanted: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: generation)
    assert choose_training_dtype("auto", torch.device("cuda"))[0] == wanted
    assert choose_training_dtype("fp32", torch.device("cuda"))[0] == torch.float32
    without_scale = torch.bfloat16 if wanted == torch.bfloat16 else torch.float32
    assert choose_dtype("auto", torch.device("cuda"))[0] == without_scale
    assert choose_dtype("fp32", torch.device("cuda"))[0] == torch.float32

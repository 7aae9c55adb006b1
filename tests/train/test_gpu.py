"""On a GPU a training comes to what it comes to on a processor: ``pytest -m gpu``."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch

from danlu.nn.families import GPT, Llama, Mistral
from danlu.optim.adamw import AdamW
from danlu.optim.muon import Muon, multiplies_bfloat16
from danlu.optim.normuon import NorMuon
from danlu.train.ahead import Ahead
from danlu.train.loop import StepInfo, fit
from danlu.train.pretrain import Pretrain
from danlu.train.settings import Hardware
from danlu.train.setup import Training

pytestmark = pytest.mark.gpu

MakeTraining = Callable[..., Training]
CPU, CUDA = Hardware(device="cpu"), Hardware(device="cuda")
WAITS = 6
"""Of a step with one loss, counted in the source: the loss, the norm, whether to clip, and room for three."""


def losses(training: Training, *, steps: int = 6) -> list[float]:
    infos: list[StepInfo] = []
    fit(
        training.model, training.made_ahead, Pretrain().objective, training.optimizer, lambda _: 1.0, steps=steps,
        masters=training.masters, hooks=[infos.append],
    )  # fmt: skip
    return [info.loss for info in infos]


@pytest.mark.parametrize("compile", ["off", "on"])
@pytest.mark.parametrize(
    "optimizer", [AdamW(), Muon(precision="fp32"), NorMuon(precision="fp32")], ids=["adamw", "muon", "normuon"]
)
@pytest.mark.parametrize("model", [GPT, Llama, Mistral])
def test_losses_are_those_of_a_processor(make_training: MakeTraining, model: Any, optimizer: Any, compile: str) -> None:
    settings = {"model": model(layers=2, dim=64, heads=4), "optimizer": optimizer}
    wanted = losses(make_training(hardware=CPU, **settings))
    training = make_training(hardware=CUDA, compile=compile, **settings)
    assert isinstance(training.made_ahead, Ahead)
    assert losses(training) == pytest.approx(wanted, rel=1e-3)
    assert training.model.embedding.weight.is_cuda


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("offload", [False, True])
def test_half_the_width_is_near(make_training: MakeTraining, precision: str, offload: bool) -> None:
    wanted = losses(make_training(hardware=CPU))
    assert losses(
        make_training(hardware=Hardware(device="cuda", offload=offload), precision=precision)
    ) == pytest.approx(wanted, rel=2e-2)


def test_batches_are_pinned(make_training: MakeTraining) -> None:
    [batch, *_] = make_training(hardware=CUDA).made_ahead(0)
    assert batch.inputs["tokens"].is_pinned()


def test_muon_asks_the_gpu_what_it_multiplies() -> None:
    assert multiplies_bfloat16(torch.device("cuda")) == (torch.cuda.get_device_capability()[0] >= 8)


def test_a_step_waits_for_the_gpu_a_few_times_only(make_training: MakeTraining) -> None:
    training = make_training(hardware=CUDA)
    losses(training, steps=2)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")  # type: ignore[no-untyped-call]
        try:
            losses(training, steps=4)
        finally:
            torch.cuda.set_sync_debug_mode("default")  # type: ignore[no-untyped-call]
    # One more warns of the mode itself.
    waits = [each for each in said if "called a synchronizing" in str(each.message)]
    assert waits  # the mode sees some
    assert len(waits) <= 4 * WAITS

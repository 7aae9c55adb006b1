"""The loop: one step is the same however it is cut, clipped as torch clips, told to hooks as it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.corpus.batches import IGNORE, Batch
from danlu.nn.families import GPT, Llama
from danlu.objectives.clm import CausalLM
from danlu.optim.clipping import ClipNorm, NoClipping
from danlu.train.loop import StepInfo, fit
from danlu.train.settings import Hardware
from danlu.train.setup import Training


class Sum:
    """A loss over a plain linear model in float64, so that equal means equal."""

    def losses(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        logits, targets = model(batch.inputs["x"]), batch.targets["words"].flatten()
        return {"words": F.cross_entropy(logits.flatten(0, 1), targets, ignore_index=IGNORE, reduction="sum")}

    def weight(self, name: str) -> float:
        return 1.0


def ragged(rows: int = 8) -> tuple[Tensor, Tensor]:
    """Rows of 5 with 5, 0, 3, 0, 0, 1 … scored targets."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(rows, 5, 6, dtype=torch.float64, generator=generator)
    targets = torch.randint(0, 4, (rows, 5), generator=generator)
    for row, scored in enumerate([5, 0, 3, 0, 0, 1, 4, 2][:rows]):
        targets[row, scored:] = IGNORE
    return x, targets


def cut(x: Tensor, targets: Tensor, size: int) -> list[Batch]:
    parts = zip(x.split(size), targets.split(size), strict=True)
    return [
        Batch({"x": part}, {"words": wanted}, {"words": int((wanted != IGNORE).sum())}, part.shape[0])
        for part, wanted in parts
    ]


def linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(6, 4).double()


def sgd(parameters: Any, scale: float = 1.0) -> torch.optim.Optimizer:
    return torch.optim.SGD([{"params": list(parameters), "lr_scale": scale}], lr=1.0)


def run(
    model: Any, batches: Callable[[int], Sequence[Batch]], objective: Any, *, steps: int = 1, **settings: Any
) -> list[StepInfo]:
    seen: list[StepInfo] = []
    optimizer = settings.pop("optimizer", None) or sgd(model.parameters())
    fit(model, batches, objective, optimizer, lambda _: 1.0, steps=steps, hooks=[seen.append], **settings)
    return seen


@pytest.mark.parametrize("size", [1, 2, 3, 4, 8])
def test_micro_batches_give_the_gradient_of_the_whole_batch(size: int) -> None:
    x, targets = ragged()
    model, whole = linear(), linear()
    expected = F.cross_entropy(whole(x).flatten(0, 1), targets.flatten(), ignore_index=IGNORE)  # the mean
    expected.backward()
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    [info] = run(model, lambda _: cut(x, targets, size), Sum(), clip=NoClipping())
    assert info.targets == 15
    assert info.loss == pytest.approx(expected.item(), rel=1e-6)
    for name, weight in whole.named_parameters():
        torch.testing.assert_close(
            before[name] - model.get_parameter(name).detach(), weight.grad, rtol=1e-10, atol=1e-10
        )


def test_a_step_without_targets_moves_nothing() -> None:
    x, targets = ragged()
    model = linear()
    before = model.weight.detach().clone()
    [info] = run(model, lambda _: cut(x, torch.full_like(targets, IGNORE), 2), Sum())
    assert (info.loss, info.grad_norm) == (0.0, 0.0)
    assert torch.equal(model.weight, before)


@pytest.mark.parametrize("family", [GPT(layers=2, dim=32, heads=2), Llama(layers=2, dim=32, heads=2, tied=True)])
def test_micro_batches_of_a_transformer(family: Any, make_training: Callable[..., Training]) -> None:
    results = []
    for micro_batch in (8, 4, 3, 2, 1):
        training = make_training(model=family, hardware=Hardware(micro_batch=micro_batch))
        generator = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for weight in training.model.parameters():
                weight.normal_(0.0, 0.2, generator=generator)
        optimizer = sgd(training.model.parameters())
        gradients: dict[str, Tensor] = {}
        optimizer.register_step_pre_hook(
            lambda *_, model=training.model, into=gradients: into.update(
                {name: weight.grad.clone() for name, weight in model.named_parameters()}
            )
        )
        [info] = run(training.model, training.batches, CausalLM(), optimizer=optimizer, clip=NoClipping())
        results.append((info, gradients))
    (whole, wanted), *others = results
    for info, gradients in others:
        assert info.targets == whole.targets
        assert info.loss == pytest.approx(whole.loss, rel=1e-6)
        for name, gradient in gradients.items():
            assert (gradient - wanted[name]).norm() <= 1e-6 * wanted[name].norm(), name


def test_weights_without_a_gradient_are_left_out() -> None:
    model = linear()
    spare = nn.Parameter(torch.ones(3, dtype=torch.float64))
    x, targets = ragged()
    run(model, lambda _: cut(x, targets, 8), Sum(), optimizer=sgd([*model.parameters(), spare]))
    assert torch.equal(spare, torch.ones(3, dtype=torch.float64))


def test_each_group_has_the_schedule_times_its_own_rate() -> None:
    model = linear()
    groups = [{"params": [model.weight], "lr_scale": 0.5}, {"params": [model.bias], "lr_scale": 0.01}]
    optimizer = torch.optim.SGD(groups, lr=99.0)
    rates: list[tuple[float, ...]] = []
    optimizer.register_step_pre_hook(lambda *_: rates.append(tuple(g["lr"] for g in optimizer.param_groups)))
    x, targets = ragged()
    factors = [1.0, 0.5, 0.25, 0.0]
    fit(model, lambda _: cut(x, targets, 8), Sum(), optimizer, factors.__getitem__, start=1, steps=4)  # type: ignore[arg-type]
    assert rates == [(factor * 0.5, factor * 0.01) for factor in factors[1:]]


def test_hooks_are_told_steps_from_one_and_batches_from_zero() -> None:
    model = linear()
    x, targets = ragged()
    asked: list[int] = []

    def batches(step: int) -> list[Batch]:
        asked.append(step)
        return cut(x, targets, 8)

    infos: list[StepInfo] = []
    order: list[str] = []
    hooks = (infos.append, *(lambda info, name=name: order.append(f"{name} {info.step}") for name in "ab"))
    fit(model, batches, Sum(), sgd(model.parameters(), 0.1), lambda step: 1 / (step + 1), steps=5, start=2, hooks=hooks)  # type: ignore[arg-type]
    assert asked == [2, 3, 4]
    assert [info.step for info in infos] == [3, 4, 5]
    assert [info.lr for info in infos] == [1 / 3, 1 / 4, 1 / 5]
    assert order == ["a 3", "b 3", "a 4", "b 4", "a 5", "b 5"]
    losses = [info.loss for info in infos]
    assert losses == sorted(losses, reverse=True)


def test_the_told_norm_is_that_before_clipping() -> None:
    x, targets = ragged()
    [free] = run(linear(), lambda _: cut(x, targets, 8), Sum(), clip=NoClipping())
    [clipped] = run(linear(), lambda _: cut(x, targets, 8), Sum(), clip=ClipNorm(limit=1e-3))
    assert free.grad_norm == clipped.grad_norm > 1e-3


def test_no_gradient_is_left_for_the_next_step() -> None:
    x, targets = ragged()
    model = linear()
    infos = run(model, lambda _: cut(x, targets, 4), Sum(), steps=2, optimizer=sgd(model.parameters(), 1e-12))
    assert infos[0].grad_norm == pytest.approx(infos[1].grad_norm, rel=1e-9)

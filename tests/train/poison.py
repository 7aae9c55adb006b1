"""Steps that go wrong on purpose: their loss, or the gradient alone, is multiplied by something."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from danlu.corpus.batches import Batch
from danlu.train import run
from danlu.train.loop import StepInfo, fit
from danlu.train.setup import Training


class Killed(BaseException):
    """No handler of ours may catch it."""


class _Multiplied(torch.autograd.Function):
    """A number as it is, whose gradient is multiplied."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0] * ctx.factor, None


def spoilt(value: Tensor, how: str) -> Tensor:
    """``value`` with something wrong: its number, or its gradient alone."""
    if how.startswith("gradient"):
        multiplied: Tensor = _Multiplied.apply(value, float(how.partition(" ")[2]))  # type: ignore[no-untyped-call]
        return multiplied
    return value * float(how)


class Poisoned:
    """An objective that goes wrong at some steps, and the batches that tell it which step it is."""

    def __init__(self, objective: Any, batches: Callable[[int], Sequence[Batch]], how: Callable[[int], str | None]):
        self.objective, self.step_batches, self.how = objective, batches, how
        self.step = -1

    def batches(self, step: int) -> Sequence[Batch]:
        self.step = step
        return self.step_batches(step)

    def losses(self, model: Any, batch: Batch) -> dict[str, Tensor]:
        how = self.how(self.step)
        losses = self.objective.losses(model, batch)
        return losses if how is None else {name: spoilt(value, how) for name, value in losses.items()}

    def weight(self, name: str) -> float:
        return float(self.objective.weight(name))


def poison(patch: pytest.MonkeyPatch, steps: Sequence[int], how: str, *, above_lr: float = -math.inf) -> None:
    """Have these steps of the stage, counted from 1, go wrong wherever the learning rate is above ``above_lr``."""

    def wrapped(model: Any, batches: Any, objective: Any, optimizer: Any, lr: Any, **settings: Any) -> None:
        poisoned = Poisoned(objective, batches, lambda step: how if step + 1 in steps and lr(step) > above_lr else None)
        fit(model, poisoned.batches, poisoned, optimizer, lr, **settings)  # type: ignore[arg-type]

    patch.setattr(run, "fit", wrapped)


@contextmanager
def killed_after(step: int, *, setbacks: int) -> Iterator[None]:
    """A training that ends as if killed once it has done this step, having gone back so often."""

    def hook(self: Training, info: StepInfo) -> None:
        if (info.step, self.history.setbacks) == (step, setbacks):
            raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Training, "after_step", hook)
        yield

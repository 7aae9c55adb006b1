"""A training that has diverged ends with a clear line, before it is saved over one that had not."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from danlu.errors import DanluError
from danlu.train.loop import StepInfo

ADVICE = "lower the learning rates in pretrain.optimizer; nothing of this is saved"


def stop_where_diverged(info: StepInfo) -> None:
    """A hook: a loss or a gradient that is not a number ends the training.

    Raises:
        DanluError: and which, and at which step.
    """
    for what, value in (("loss", info.loss), ("norm of the gradient", info.grad_norm)):
        if not math.isfinite(value):
            raise DanluError(f"the {what} is {value} at step {info.step}: the training has diverged; {ADVICE}")


@torch.no_grad()
def check_finite(weights: Iterable[Tensor], *, step: int) -> None:
    """Refuse weights that one step has blown up: its loss was still right, the next one would not be.

    Raises:
        DanluError: a weight is infinite or not a number.
    """
    if not all(bool(torch.isfinite(weight).all()) for weight in weights):
        raise DanluError(f"weights are no longer finite after step {step}: the training has diverged; {ADVICE}")

"""Adafactor against ``transformers.optimization.Adafactor``, and against the paper where torch bounds the rate."""

from __future__ import annotations

import pytest
import torch
import transformers
from torch import nn

from danlu.optim.adafactor import Adafactor


def both(shape: tuple[int, ...], size: float) -> tuple[nn.Parameter, nn.Parameter]:
    weight = torch.randn(shape) * size
    return nn.Parameter(weight.clone()), nn.Parameter(weight.clone())


@pytest.mark.parametrize("shape", [(6, 4), (2, 6, 4), (5,)])
@pytest.mark.parametrize("size", [1.0, 1e-5], ids=["large", "small"])
@pytest.mark.parametrize("gradients", [1.0, 1e-5, 1e-7])
def test_steps_follow_those_of_transformers(shape: tuple[int, ...], size: float, gradients: float) -> None:
    ours, theirs = both(shape, size)
    optimizer = Adafactor(weight_decay=0.0).build([("decoder.blocks.0.up.weight", ours)])
    reference = transformers.optimization.Adafactor(
        [theirs], lr=0.01, relative_step=False, scale_parameter=True, warmup_init=False
    )
    for rate in (0.01, 0.02, 0.005, 0.01):
        for group in (*optimizer.param_groups, *reference.param_groups):
            group["lr"] = rate
        # Uneven, so that rows and columns differ and updates get cut.
        ours.grad = torch.randn(shape).pow(3) * gradients
        theirs.grad = ours.grad.clone()
        optimizer.step()
        reference.step()
        torch.testing.assert_close(ours, theirs, rtol=2e-5, atol=2e-6 * size)


def test_decay_is_decoupled() -> None:
    ours, _ = both((4, 3), 1.0)
    before = ours.detach().clone()
    optimizer = Adafactor(weight_decay=0.5).build([("head.weight", ours)])
    optimizer.param_groups[0]["lr"] = 0.1
    ours.grad = torch.zeros_like(ours)
    optimizer.step()
    torch.testing.assert_close(ours.detach(), before * 0.95)


def test_late_steps_keep_to_the_bound_of_the_paper() -> None:
    weight, _ = both((4, 3), 1.0)
    optimizer = Adafactor(lr=0.9).build([("head.weight", weight)])
    for step in range(1, 9):
        before = weight.detach().clone()
        optimizer.param_groups[0]["lr"] = 0.9
        weight.grad = torch.ones_like(weight)
        optimizer.step()
        moved = (before - weight.detach()).abs().max() / before.square().mean().sqrt()
        torch.testing.assert_close(moved, torch.tensor(min(0.9, step**-0.5)), rtol=1e-4, atol=0)

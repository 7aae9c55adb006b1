"""AdamW decays matrices and spares gains; everything learns at one rate."""

from __future__ import annotations

import torch
from torch import nn

from danlu.optim.adamw import AdamW


def test_decay_falls_on_matrices_only() -> None:
    matrix, gain = nn.Parameter(torch.ones(3, 3)), nn.Parameter(torch.ones(3))
    optimizer = AdamW(lr=0.1, weight_decay=0.5).build([("blocks.0.up.weight", matrix), ("norm.weight", gain)])
    assert {group["lr_scale"] for group in optimizer.param_groups} == {0.1}
    for weight in (matrix, gain):
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    torch.testing.assert_close(matrix.detach(), torch.full((3, 3), 1 - 0.1 * 0.5))
    assert gain.detach().eq(1).all()


def test_a_model_without_gains_has_one_group() -> None:
    optimizer = AdamW().build([("embedding.weight", nn.Parameter(torch.ones(3, 3)))])
    assert len(optimizer.param_groups) == 1

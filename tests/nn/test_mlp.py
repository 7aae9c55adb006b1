"""Activations by their formulas in float64; which half of a gated layer is the gate."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from danlu.nn import config
from danlu.nn.mlp import ACTIVATIONS, MLP

FORMULAS: dict[config.ActivationName, Callable[[float], float]] = {
    "relu": lambda x: max(x, 0.0),
    "relu2": lambda x: max(x, 0.0) ** 2,
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "gelu_tanh": lambda x: x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    "silu": lambda x: x / (1 + math.exp(-x)),
    "tanh": math.tanh,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: config.ActivationName) -> None:
    x = torch.linspace(-5, 5, 101, dtype=torch.float64)
    expected = torch.tensor([FORMULAS[name](value) for value in x.tolist()], dtype=torch.float64)
    torch.testing.assert_close(ACTIVATIONS[name](x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("gated", [True, False])
def test_two_matrices_or_three(gated: bool, bias: bool) -> None:
    mlp = MLP(config.MLP(7, "silu", gated=gated, bias=bias), 4).double()
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    inside = x @ mlp.up.weight.T + (mlp.up.bias if bias else 0.0)
    first, second = inside[..., :7], inside[..., 7:]
    activated = first * torch.sigmoid(first) * (second if gated else 1.0)
    expected = activated @ mlp.down.weight.T + (mlp.down.bias if bias else 0.0)
    torch.testing.assert_close(mlp(x), expected, rtol=1e-12, atol=1e-12)
    assert len(list(mlp.parameters())) == (4 if bias else 2)

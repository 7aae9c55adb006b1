"""The same random numbers whatever ran before, and steps beside a definition in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from danlu.optim.protocol import OptimizerChoice

Array = npt.NDArray[np.float64]
Rule = Callable[[Array, Array, dict[str, Any], float], Array]
"""Weight, gradient, what is remembered between steps, learning rate -> the weight after the step."""

RATES = (0.1, 0.05, 0.2, 0.1, 0.02)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def follows() -> Callable[..., None]:
    """``follows(choice, rule, shape=…, tolerance=…)`` checks steps against a definition in float64."""
    return _follows


def _follows(choice: OptimizerChoice, rule: Rule, *, shape: tuple[int, ...] = (4, 3), tolerance: float = 1e-5) -> None:
    """Steps at rates that change, as a schedule changes them, end where ``rule`` ends."""
    generator = np.random.default_rng(5)
    expected = generator.normal(size=shape)
    weight = nn.Parameter(torch.tensor(expected, dtype=torch.float32))
    optimizer = choice.build([("decoder.blocks.0.mlp.up.weight", weight)])
    memory: dict[str, Any] = {}
    for rate in RATES:
        gradient = generator.normal(size=shape)
        expected = rule(expected, gradient, memory, rate)
        optimizer.param_groups[0]["lr"] = rate
        weight.grad = torch.tensor(gradient, dtype=torch.float32)
        optimizer.step()
        np.testing.assert_allclose(weight.detach().numpy(), expected, rtol=0, atol=tolerance)

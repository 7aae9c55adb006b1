"""Lion against algorithm 2 of its paper in numpy."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from danlu.errors import InputError
from danlu.optim.lion import Lion

Array = npt.NDArray[np.float64]
Follows = Callable[..., None]


def test_steps_follow_algorithm_2(follows: Follows) -> None:
    def rule(weight: Array, gradient: Array, memory: dict[str, Any], rate: float) -> Array:
        momentum = memory.get("momentum", np.zeros_like(weight))
        update = np.sign(0.6 * momentum + 0.4 * gradient)
        memory["momentum"] = 0.9 * momentum + 0.1 * gradient
        return weight - rate * (update + 0.3 * weight)

    follows(Lion(betas=(0.6, 0.9), weight_decay=0.3), rule)


def test_without_the_package_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    named = [("head.weight", nn.Parameter(torch.ones(2, 2)))]
    with pytest.raises(
        InputError, match=r"^the optimizer lion needs the package pytorch_optimizer: pip install pytorch_optimizer"
    ):
        Lion().build(named)

"""Adagrad against its definition in numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from danlu.optim.adagrad import Adagrad

Array = npt.NDArray[np.float64]
Follows = Callable[..., None]


def test_steps_follow_the_definition(follows: Follows) -> None:
    def rule(weight: Array, gradient: Array, memory: dict[str, Any], rate: float) -> Array:
        gradient = gradient + 0.3 * weight
        memory["sum"] = memory.get("sum", 0.5) + gradient**2
        return weight - rate * gradient / (np.sqrt(memory["sum"]) + 1e-3)

    follows(Adagrad(initial=0.5, eps=1e-3, weight_decay=0.3), rule)

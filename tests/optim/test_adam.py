"""Adam against its definition in numpy: decay is part of the gradient, where AdamW's is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from danlu.optim.adam import Adam

Array = npt.NDArray[np.float64]
Follows = Callable[..., None]


def test_steps_follow_the_definition(follows: Follows) -> None:
    def rule(weight: Array, gradient: Array, memory: dict[str, Any], rate: float) -> Array:
        gradient = gradient + 0.3 * weight
        memory["step"] = step = memory.get("step", 0) + 1
        memory["mean"] = 0.7 * memory.get("mean", 0.0) + 0.3 * gradient
        memory["square"] = 0.9 * memory.get("square", 0.0) + 0.1 * gradient**2
        return weight - rate * memory["mean"] / (1 - 0.7**step) / (np.sqrt(memory["square"] / (1 - 0.9**step)) + 1e-3)

    follows(Adam(betas=(0.7, 0.9), eps=1e-3, weight_decay=0.3), rule)

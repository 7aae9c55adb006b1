"""RMSProp against its definition in numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from danlu.optim.rmsprop import RMSProp

Array = npt.NDArray[np.float64]
Follows = Callable[..., None]


@pytest.mark.parametrize("momentum", [0.0, 0.7])
@pytest.mark.parametrize("centered", [False, True])
def test_steps_follow_the_definition(momentum: float, centered: bool, follows: Follows) -> None:
    def rule(weight: Array, gradient: Array, memory: dict[str, Any], rate: float) -> Array:
        gradient = gradient + 0.3 * weight
        memory["square"] = 0.8 * memory.get("square", 0.0) + 0.2 * gradient**2
        memory["mean"] = 0.8 * memory.get("mean", 0.0) + 0.2 * gradient
        spread = memory["square"] - memory["mean"] ** 2 if centered else memory["square"]
        memory["update"] = momentum * memory.get("update", 0.0) + gradient / (np.sqrt(spread) + 1e-3)
        return weight - rate * memory["update"]

    follows(RMSProp(alpha=0.8, momentum=momentum, centered=centered, eps=1e-3, weight_decay=0.3), rule)

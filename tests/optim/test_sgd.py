"""Gradient descent against its definition in numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from danlu.errors import RecipeError
from danlu.optim.sgd import SGD
from danlu.recipe import build

Array = npt.NDArray[np.float64]
Follows = Callable[..., None]


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.8, False), (0.8, True)])
def test_steps_follow_the_definition(momentum: float, nesterov: bool, follows: Follows) -> None:
    def rule(weight: Array, gradient: Array, memory: dict[str, Any], rate: float) -> Array:
        gradient = gradient + 0.3 * weight
        memory["velocity"] = momentum * memory.get("velocity", 0.0) + gradient
        return weight - rate * (gradient + momentum * memory["velocity"] if nesterov else memory["velocity"])

    follows(SGD(momentum=momentum, nesterov=nesterov, weight_decay=0.3), rule)


def test_nesterov_without_a_momentum_is_refused_with_the_recipe() -> None:
    with pytest.raises(RecipeError, match=r"^pretrain\.optimizer.*nesterov needs a momentum above 0; got 0"):
        build(SGD, {"momentum": 0, "nesterov": True}, key="pretrain.optimizer")

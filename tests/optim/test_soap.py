"""SOAP against algorithm 3 of its paper in numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from danlu.optim.soap import SOAP

Array = npt.NDArray[np.float64]
Follows = Callable[..., None]

SETTINGS = {"betas": (0.8, 0.9), "shampoo_beta": 0.7, "frequency": 2, "eps": 1e-6, "weight_decay": 0.1}


def adam_size(step: int) -> float:
    return float(np.sqrt(1 - 0.9**step) / (1 - 0.8**step))


def gather(memory: dict[str, Any], gradient: Array) -> None:
    for side, product in (("left", gradient @ gradient.T), ("right", gradient.T @ gradient)):
        memory[side] = 0.7 * memory.get(side, 0.0) + 0.3 * product


def turned(basis: Array, statistics: Array) -> tuple[Array, np.ndarray]:
    """One round of power iteration, the directions of the largest values first; and their order."""
    order = np.argsort(-np.diag(basis.T @ statistics @ basis))
    return np.linalg.qr((statistics @ basis)[:, order])[0], order


def rule(weight: Array, gradient: Array, memory: dict[str, Any], rate: float) -> Array:
    if "left" not in memory:
        gather(memory, gradient)
        memory["bases"] = [np.linalg.eigh(memory[side])[1][:, ::-1] for side in ("left", "right")]
        memory.update(step=0, mean=np.zeros_like(weight), square=np.zeros_like(weight))
        return weight
    memory["step"] += 1
    left, right = memory["bases"]
    memory["mean"] = 0.8 * memory["mean"] + 0.2 * gradient
    memory["square"] = 0.9 * memory["square"] + 0.1 * (left.T @ gradient @ right) ** 2
    inside = (left.T @ memory["mean"] @ right) / (np.sqrt(memory["square"]) + 1e-6)
    weight = weight - rate * adam_size(memory["step"]) * (left @ inside @ right.T)
    gather(memory, gradient)
    if memory["step"] % 2 == 0:
        left, rows = turned(left, memory["left"])
        right, columns = turned(right, memory["right"])
        memory["bases"], memory["square"] = [left, right], memory["square"][rows][:, columns]
    return weight * (1 - rate * 0.1)


def test_steps_follow_algorithm_3(follows: Follows) -> None:
    follows(SOAP(**SETTINGS), rule, shape=(4, 4), tolerance=1e-4)


def test_a_long_side_has_no_basis() -> None:
    weight = nn.Parameter(torch.randn(9, 4))
    optimizer = SOAP(largest_side=8).build([("embedding.weight", weight)])
    weight.grad = torch.randn(9, 4)
    optimizer.step()
    shapes = {name: tuple(value.shape) for name, value in optimizer.state_dict()["state"][0].items() if name[0] in "GQ"}
    assert shapes == {"GG_1": (4, 4), "Q_1": (4, 4)}

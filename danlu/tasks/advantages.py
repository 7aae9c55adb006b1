"""How much better an answer is than the others to the same prompt, and what its tokens then cost (GRPO).

Axes: P prompts, G answers of a group, N tokens of answers.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]

EQUAL = 1e-6
"""Rewards of a group that differ by no more than this share of the largest are equal: the rest is rounding."""


def advantages(rewards_PG: Floats, *, divide: bool) -> Floats:
    """``[P, G]``: each reward less the mean of its group; 0 where all of a group are equal.

    Args:
        divide: by the standard deviation of the group, that of a sample (Shao et al. 2024, arXiv:2402.03300); without,
            prompts whose answers differ little count little (Liu et al. 2025, arXiv:2503.20783).
    """
    apart_PG = rewards_PG - rewards_PG.mean(1, keepdims=True)
    apart_PG = np.where(equal_groups(rewards_PG)[:, None], 0.0, apart_PG)
    if not divide:
        return apart_PG
    deviation_P1 = np.sqrt(np.square(apart_PG).sum(1, keepdims=True) / (rewards_PG.shape[1] - 1))
    divided_PG: Floats = np.divide(apart_PG, deviation_P1, out=np.zeros_like(apart_PG), where=deviation_P1 > 0)
    return divided_PG


def equal_groups(rewards_PG: Floats) -> NDArray[np.bool_]:
    """``[P]``: of which groups nothing can be learned."""
    spread_P = rewards_PG.max(1) - rewards_PG.min(1)
    equal_P: NDArray[np.bool_] = spread_P <= EQUAL * np.abs(rewards_PG).max(1)
    return equal_P


def clipped_losses(logs_N: Tensor, written_N: Tensor, advantages_N: Tensor, *, low: float, high: float) -> Tensor:
    """``-min(r A, clip(r, 1 - low, 1 + high) A)`` of each token, where ``r`` is by how much it has become likelier.

    Equation 3 of arXiv:2402.03300, with the two bounds of arXiv:2503.14476.

    Args:
        logs_N: log-probabilities by the model.
        written_N: the same by the model as it was when it wrote; no gradient goes through them.
    """
    ratios_N = torch.exp(logs_N - written_N.detach())
    return -torch.minimum(ratios_N * advantages_N, ratios_N.clamp(1.0 - low, 1.0 + high) * advantages_N)


def divergences(logs_N: Tensor, reference_N: Tensor) -> Tensor:
    """``e^d - d - 1`` of each token with ``d = log ρ - log π``: an estimate of the divergence from the reference ρ that
    is never negative (equation 4 of arXiv:2402.03300; k3 of Schulman 2020)."""
    apart_N = reference_N.detach() - logs_N
    return torch.expm1(apart_N) - apart_N

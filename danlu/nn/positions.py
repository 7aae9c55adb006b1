"""Rotary position embedding (Su et al. 2021, arXiv:2104.09864), halves convention of GPT-NeoX and Llama."""

from __future__ import annotations

import torch
from torch import Tensor


def rotary_table(length: int, head_dim: int, *, theta: float, direction: int = 1) -> tuple[Tensor, Tensor]:
    """Cosines and sines ``[length, head_dim / 2]`` in float32; ``direction`` -1 turns the other way."""
    frequency = 1.0 / (theta ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim))
    angle_TF = torch.outer(torch.arange(length, dtype=torch.float32), frequency)
    return angle_TF.cos(), angle_TF.sin() * direction


def rotate(x_BHTE: Tensor, cos_TF: Tensor, sin_TF: Tensor) -> Tensor:
    """Turn the pairs ``(x[i], x[i + E/2])`` by their position's angles; E is the head width."""
    left, right = x_BHTE.chunk(2, dim=-1)
    turned = (left * cos_TF - right * sin_TF, right * cos_TF + left * sin_TF)
    return torch.cat([half.type_as(x_BHTE) for half in turned], dim=-1)

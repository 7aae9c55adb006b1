"""Root mean square layer normalisation (Zhang & Sennrich 2019, arXiv:1910.07467)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def rms_norm(x: Tensor, eps: float) -> Tensor:
    """``x`` over the root mean square of its last axis, computed in float32, in the type of ``x``."""
    wide = x.float()
    return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)).type_as(x)


class RMSNorm(nn.Module):
    """``rms_norm`` with an optional learned gain over ``dim``."""

    def __init__(self, dim: int, *, eps: float, weight: bool) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim)) if weight else None

    def forward(self, x: Tensor) -> Tensor:
        normed = rms_norm(x, self.eps)
        return normed if self.weight is None else normed * self.weight

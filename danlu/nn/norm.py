"""Normalisation of the last axis, computed in float32 at least: RMSNorm and LayerNorm."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.nn import config


def rms_norm(x: Tensor, eps: float) -> Tensor:
    """``x`` over the root mean square of its last axis, in its type (Zhang & Sennrich 2019, arXiv:1910.07467)."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
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


class LayerNorm(nn.Module):
    """Mean 0 and variance 1, then an optional gain and bias (Ba et al. 2016, arXiv:1607.06450)."""

    def __init__(self, dim: int, *, eps: float, weight: bool, bias: bool) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim)) if weight else None
        self.bias = nn.Parameter(torch.zeros(dim)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.eps)


def make_norm(norm: config.Norm | None, dim: int) -> nn.Module:
    """The module for a record; the identity for None."""
    if norm is None:
        return nn.Identity()
    if norm.kind == "rms":
        return RMSNorm(dim, eps=norm.eps, weight=norm.weight)
    return LayerNorm(dim, eps=norm.eps, weight=norm.weight, bias=norm.bias)

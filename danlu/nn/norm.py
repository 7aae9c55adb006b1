"""Normalisation of the last axis, computed in float32 at least: RMSNorm and LayerNorm."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.nn import config


def rms_norm(x: Tensor, eps: float, weight: Tensor | None = None) -> Tensor:
    """``x`` over the root mean square of its last axis, in its type (Zhang & Sennrich 2019, arXiv:1910.07467)."""
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        return _gained(_normed(x, eps)[0], weight)
    out: Tensor = _RMSNorm.apply(x, eps, weight)  # type: ignore[no-untyped-call]
    return out


def _normed(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """In the type of ``x``, and the factor, in float32 at least."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    factor = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
    return (wide * factor).type_as(x), factor


def _gained(normed: Tensor, weight: Tensor | None) -> Tensor:
    return normed if weight is None else normed * weight


class _RMSNorm(torch.autograd.Function):
    """The same, of which ``x`` and a factor a row are kept; torch itself would keep several copies in float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float, weight: Tensor | None) -> Tensor:
        normed, factor = _normed(x, eps)
        ctx.save_for_backward(x, factor, weight)
        return _gained(normed, weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, factor, weight = ctx.saved_tensors
        wide = x.to(factor.dtype) * factor
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            grad = _gained(grads[0], weight).to(factor.dtype)
            along = (grad * wide).mean(-1, keepdim=True)
            of_x = torch.addcmul(grad, wide, along, value=-1).mul_(factor).type_as(x)
        if weight is not None and ctx.needs_input_grad[2]:
            of_weight = (grads[0] * wide.type_as(x)).flatten(0, -2).sum(0, dtype=factor.dtype).to(weight.dtype)
        return of_x, None, of_weight


class RMSNorm(nn.Module):
    """``rms_norm`` with an optional learned gain over ``dim``."""

    def __init__(self, dim: int, *, eps: float, weight: bool) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim)) if weight else None

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.eps, self.weight)


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

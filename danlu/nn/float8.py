"""Linear layers whose three products are of 8-bit floats, on GPUs that multiply them (Micikevicius et al. 2022,
arXiv:2209.05433).

Inputs and weights are e4m3, gradients e5m2, each with one scale for the whole tensor, taken from its largest number as
it is (dynamic, tensorwise scaling). What comes out is bfloat16, and so are the weights; masters are float32 as ever.

Axes: N tokens, I inputs, O outputs.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.nn.targets import LINEARS_OF_BLOCKS, named_layers

FORWARD, BACKWARD = torch.float8_e4m3fn, torch.float8_e5m2
MULTIPLE = 16
"""Sizes of a product must be multiples of this."""
ADA = (8, 9)
"""The first generation of NVIDIA's GPUs that multiplies float8."""


class Float8Linear(nn.Linear):
    """``nn.Linear`` with products in float8."""

    def forward(self, x: Tensor) -> Tensor:
        flat_NI = x.flatten(0, -2)
        spare = -len(flat_NI) % MULTIPLE
        padded = F.pad(flat_NI, (0, 0, 0, spare)) if spare else flat_NI
        out_NO: Tensor = Float8Product.apply(padded, self.weight)  # type: ignore[no-untyped-call]
        out = out_NO[: len(flat_NI)].view(*x.shape[:-1], -1)
        return out if self.bias is None else out + self.bias


class Float8Product(torch.autograd.Function):
    """``x @ weight.T``; the gradients of both are float8 products too."""

    @staticmethod
    def forward(ctx: Any, x_NI: Tensor, weight_OI: Tensor) -> Tensor:
        x8, x_scale = narrowed(x_NI, FORWARD)
        w8, w_scale = narrowed(weight_OI, FORWARD)
        ctx.save_for_backward(x8, x_scale, w8, w_scale)
        ctx.dtype = x_NI.dtype
        return _product(x8, x_scale, w8.t(), w_scale, x_NI.dtype, fast=True)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        x8, x_scale, w8, w_scale = ctx.saved_tensors
        g8, g_scale = narrowed(grads[0].contiguous(), BACKWARD)
        grad_x = _product(g8, g_scale, _by_columns(w8), w_scale, ctx.dtype)
        grad_w = _product(g8.t().contiguous(), g_scale, _by_columns(x8), x_scale, ctx.dtype)
        return grad_x, grad_w


def narrowed(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """``x`` in float8 with its largest number at the type's largest, and what to multiply by to have it back."""
    most = torch.finfo(dtype).max
    scale = x.abs().amax().float().clamp_min(1e-12) / most
    return (x.float() / scale).clamp(-most, most).to(dtype), scale


def _by_columns(x: Tensor) -> Tensor:
    """The same numbers, column by column in memory, as the second factor must be."""
    return x.t().contiguous().t()


def _product(
    a: Tensor, a_scale: Tensor, b: Tensor, b_scale: Tensor, dtype: torch.dtype, *, fast: bool = False
) -> Tensor:
    """``fast``: summed in the GPU's matrix units, with fewer digits than float32 has; gradients need those."""
    return torch._scaled_mm(a, b, scale_a=a_scale, scale_b=b_scale, out_dtype=dtype, use_fast_accum=fast)


def multiply_in_float8(model: nn.Module) -> int:
    """Have the products of all blocks be of float8 where their sizes allow it; how many layers do."""
    found = named_layers(model, [LINEARS_OF_BLOCKS])
    fitting = [
        layer for layer in found.values()
        if isinstance(layer, nn.Linear) and not (layer.in_features % MULTIPLE or layer.out_features % MULTIPLE)
    ]  # fmt: skip
    for layer in fitting:
        layer.__class__ = Float8Linear  # the weights stay where they are, by the same names
    return len(fitting)


def why_no_float8() -> str | None:
    """Why this machine's GPU cannot multiply float8; None where it can."""
    if not torch.cuda.is_available():
        return "torch finds no GPU here"
    if torch.cuda.get_device_capability() < ADA:
        return f"{torch.cuda.get_device_name()} does not multiply float8"
    return None

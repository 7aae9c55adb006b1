"""Linear layers whose three products are of 8-bit integers, which processors with VNNI multiply twice as fast as
bfloat16 (Wortsman et al. 2023, arXiv:2304.13013; Xi et al. 2024, arXiv:2403.12422).

Inputs and weights are rounded by rows, each with a scale of its own, and serve two products each. Where the backward
pass sums over those rows, their scales go into the other factor before that is rounded: by tokens for the gradient of
the input, as a whole for that of the weight. So an outlier costs precision in its own row only, but for that last one,
where a token of very large gradients costs all tokens of the micro-batch some. Sums are exact in 32-bit integers; what
comes out has the number type that went in, and masters are float32 as ever.

Axes: N tokens, I inputs, O outputs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from danlu.nn.targets import LINEARS_OF_BLOCKS, named_layers

MOST = 127
"""The largest integer used; symmetric, so that zero stays zero."""
LEAST = 1e-30
"""Of a scale: rows of zeros stay zeros."""


class Int8Linear(nn.Linear):
    """``nn.Linear`` with products in int8."""

    def forward(self, x: Tensor) -> Tensor:
        out_NO: Tensor = Int8Product.apply(x.flatten(0, -2), self.weight)  # type: ignore[no-untyped-call]
        out = out_NO.view(*x.shape[:-1], -1)
        return out if self.bias is None else out + self.bias


class Int8Product(torch.autograd.Function):
    """``x @ weight.T``; the gradients of both are int8 products too."""

    @staticmethod
    def forward(ctx: Any, x_NI: Tensor, weight_OI: Tensor) -> Tensor:
        x8_NI, x_scale_N1 = rounded(x_NI)
        w8_OI, w_scale_O1 = rounded(weight_OI)
        ctx.save_for_backward(x8_NI, x_scale_N1, w8_OI, w_scale_O1)
        return (torch._int_mm(x8_NI, w8_OI.t()).float() * x_scale_N1 * w_scale_O1.t()).to(x_NI.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        x8_NI, x_scale_N1, w8_OI, w_scale_O1 = ctx.saved_tensors
        [grad_NO] = grads
        g8_NO, g_scale_N1 = rounded(grad_NO.float() * w_scale_O1.t())
        grad_x_NI = (torch._int_mm(g8_NO, w8_OI).float() * g_scale_N1).to(grad_NO.dtype)
        scaled_NO = grad_NO.float() * x_scale_N1
        scale = scaled_NO.abs().amax(1).amax().clamp_min(LEAST) / MOST  # by rows first, which another loop does anyway
        g8_NO = (scaled_NO / scale).round().to(torch.int8)
        grad_w_OI = (torch._int_mm(g8_NO.t(), x8_NI).float() * scale).to(grad_NO.dtype)
        return grad_x_NI, grad_w_OI


def rounded(x: Tensor) -> tuple[Tensor, Tensor]:
    """``x`` in int8, the largest number of each row at 127, and ``[rows, 1]`` to multiply by to have it back."""
    scale = x.abs().amax(1, keepdim=True).float().clamp_min(LEAST) / MOST
    return (x.float() / scale).round().to(torch.int8), scale


def multiply_in_int8(model: nn.Module) -> int:
    """Have the products of all blocks be of int8; how many layers do."""
    found = [layer for layer in named_layers(model, [LINEARS_OF_BLOCKS]).values() if isinstance(layer, nn.Linear)]
    for layer in found:
        layer.__class__ = Int8Linear  # the weights stay where they are, by the same names
    return len(found)

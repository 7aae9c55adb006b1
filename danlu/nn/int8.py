"""Linear layers whose three products are of 8-bit integers, which processors with VNNI multiply twice as fast as
bfloat16 (Wortsman et al. 2023, arXiv:2304.13013; Xi et al. 2024, arXiv:2403.12422).

Each factor of a product is rounded along the axis that is summed over, with a scale for each line. A factor that
serves two products may be rounded once for both: then the scale that the second would have to sum over goes into its
other factor before that is rounded. :class:`Int8Product` rounds input and weight once, :class:`WideningProduct` the
gradient, where that is the widest. Sums are exact in 32-bit integers; what comes out has the number type that went in,
and masters are float32 as ever.

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
        product = WideningProduct if self.out_features > self.in_features else Int8Product
        out_NO: Tensor = product.apply(x.flatten(0, -2), self.weight)  # type: ignore[no-untyped-call]
        out = out_NO.view(*x.shape[:-1], -1)
        return out if self.bias is None else out + self.bias


class Int8Product(torch.autograd.Function):
    """``x @ weight.T`` where what comes out is no wider than what goes in; both gradients are int8 products too.

    Inputs and weights are rounded by rows and serve two products each. Where the backward pass sums over those rows,
    their scales go into the gradient before that is rounded: by tokens for the gradient of the input, as a whole for
    that of the weight. So an outlier costs precision in its own row only, but for that last one, where a token of very
    large gradients costs all tokens of the micro-batch some.
    """

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
        most = scaled_NO.abs().amax(1).amax().clamp_min(LEAST)  # by rows first, which another loop does anyway
        g8_NO = (scaled_NO * (MOST / most)).round().to(torch.int8)
        grad_w_OI = (torch._int_mm(g8_NO.t(), x8_NI).float() * (most / MOST)).to(grad_NO.dtype)
        return grad_x_NI, grad_w_OI


class WideningProduct(torch.autograd.Function):
    """The same where what comes out is wider than what goes in, so that rounding its gradient once is cheaper.

    It is rounded by rows, whose scales go into the inputs before those are rounded by columns for the gradient of the
    weight; the weight is rounded by columns for that of the input.
    """

    @staticmethod
    def forward(ctx: Any, x_NI: Tensor, weight_OI: Tensor) -> Tensor:
        ctx.save_for_backward(x_NI, weight_OI)
        x8_NI, x_scale_N1 = rounded(x_NI)
        w8_OI, w_scale_O1 = rounded(weight_OI)
        return (torch._int_mm(x8_NI, w8_OI.t()).float() * x_scale_N1 * w_scale_O1.t()).to(x_NI.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        x_NI, weight_OI = ctx.saved_tensors
        [grad_NO] = grads
        g8_NO, g_scale_N1 = rounded(grad_NO)
        w8_OI, w_scale_1I = rounded_by_columns(weight_OI)
        grad_x_NI = (torch._int_mm(g8_NO, w8_OI).float() * g_scale_N1 * w_scale_1I).to(grad_NO.dtype)
        x8_NI, x_scale_1I = rounded_by_columns(x_NI.float() * g_scale_N1)
        grad_w_OI = (torch._int_mm(g8_NO.t(), x8_NI).float() * x_scale_1I).to(grad_NO.dtype)
        return grad_x_NI, grad_w_OI


def rounded(x: Tensor) -> tuple[Tensor, Tensor]:
    """``x`` in int8, the largest number of each row at 127, and ``[rows, 1]`` to multiply by to have it back."""
    most = x.abs().amax(1, keepdim=True).float().clamp_min(LEAST)
    return (x.float() * (MOST / most)).round().to(torch.int8), most / MOST


def rounded_by_columns(x: Tensor) -> tuple[Tensor, Tensor]:
    """``x`` in int8, the largest number of each column at 127, and ``[1, columns]`` to multiply by to have it back."""
    most = x.abs().amax(0, keepdim=True).float().clamp_min(LEAST)
    return (x.float() * (MOST / most)).round().to(torch.int8), most / MOST


def multiply_in_int8(model: nn.Module) -> int:
    """Have the products of all blocks be of int8; how many layers do."""
    found = [layer for layer in named_layers(model, [LINEARS_OF_BLOCKS]).values() if isinstance(layer, nn.Linear)]
    for layer in found:
        layer.__class__ = Int8Linear  # the weights stay where they are, by the same names
    return len(found)

"""ReLU whose backward pass keeps no booleans, which compiled code on processors writes and reads one by one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class LeanRelu(torch.autograd.Function):
    """``apply(x)``: the positive part. For the gradient it keeps what it gives, which the next layer keeps too.

    Output and gradient are those of ``torch.relu``, at 0 too, as long as gradients are finite: where one is not, the
    step is left out anyway. What says where the gradient passes is a number, not a boolean: of a comparison the
    compiler would keep the outcome, and of 2 M booleans storing takes 9 ms and loading 4.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        out = torch.relu(x)
        ctx.save_for_backward(out)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (out,) = ctx.saved_tensors
        return grads[0] * torch.sign(out)


def relu(x: Tensor) -> Tensor:
    """``torch.relu``, by the way that is the faster one where it is called."""
    if torch.compiler.is_compiling() and x.device.type == "cpu":
        lean: Tensor = LeanRelu.apply(x)  # type: ignore[no-untyped-call]
        return lean
    return torch.relu(x)

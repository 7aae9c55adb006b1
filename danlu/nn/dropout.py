"""Dropout (Srivastava et al. 2014) whose masks are drawn quickly on a processor, where torch takes a draw an element.

A random number of 64 bits decides about four elements, so rates are multiples of 2⁻¹⁶. The factor that keeps the mean
is rounded to the type of the elements, as torch's own is.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

STEPS = 2**16
"""Rates that there are, from 0 to just below 1."""


def dropout(x: Tensor, rate: float, training: bool = True) -> Tensor:
    """``x`` with a share ``rate`` of its elements at 0, the others greater by as much; itself where nothing is to do.

    The numbers are drawn from torch's own source, in order, whatever the number of threads.
    """
    if not training or not rate:
        return x
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return F.dropout(x, rate)
    return x * _mask(x, dropped_of(rate))


def dropped_of(rate: float) -> int:
    """How many of ``STEPS`` elements are dropped at this rate."""
    return min(round(rate * STEPS), STEPS - 1)


def _mask(x: Tensor, dropped: int) -> Tensor:
    """0 for ``dropped`` of ``STEPS`` elements, and what keeps the mean."""
    draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    bits = draws.view(torch.int16)[: x.numel()].view(x.shape)
    mask = torch.ge(bits, dropped - STEPS // 2, out=torch.empty(x.shape, dtype=x.dtype))
    return mask.mul_(STEPS / (STEPS - dropped))

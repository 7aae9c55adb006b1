"""What a layer reads is made anew in the backward pass, where that is cheap and keeping it would take much memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

Make = Callable[[Tensor], Tensor]


class _Made(NamedTuple):
    """What was made a second time, with its graph."""

    source: Tensor
    out: Tensor


class _Remade(torch.autograd.Function):
    """``make(source)``, of which ``source`` alone is kept."""

    @staticmethod
    def forward(ctx: Any, source: Tensor, make: Make) -> Tensor:
        ctx.save_for_backward(source)
        ctx.make, ctx.made = make, None
        return make(source)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        made = _made(ctx)
        ctx.made = None
        return *torch.autograd.grad(made.out, made.source, grads[0]), None


def _made(ctx: Any) -> _Made:
    """Once for the layer and for the gradient of the source, whichever comes first."""
    if ctx.made is None:
        source = ctx.saved_tensors[0].detach().requires_grad_()
        with torch.enable_grad():
            ctx.made = _Made(source, ctx.make(source))
    made: _Made = ctx.made
    return made


def through(layer: Callable[[Tensor], Tensor], make: Make, source: Tensor) -> Tensor:
    """``layer(make(source))``; for the backward pass ``source`` is kept, and not what is made of it.

    Args:
        make: the same each time, and without weights of its own.
    """
    if torch.compiler.is_compiling() or not (torch.is_grad_enabled() and source.requires_grad):
        return layer(make(source))
    out = _Remade.apply(source, make)  # type: ignore[no-untyped-call]
    place, count, node = out.data_ptr(), out.numel(), out.grad_fn  # not the tensor, which hooks would keep

    def pack(kept: Tensor) -> Tensor | torch.Size:
        is_out = kept.data_ptr() == place and kept.numel() == count and kept.is_contiguous()
        return kept.shape if is_out else kept

    def unpack(packed: Tensor | torch.Size) -> Tensor:
        return packed if isinstance(packed, Tensor) else _made(node).out.detach().view(packed)

    with saved_tensors_hooks(pack, unpack):
        return layer(out)

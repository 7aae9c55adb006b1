"""The products of a block over several ranks: each has some of the heads and some of the MLP's hidden numbers.

As Megatron-LM (Shoeybi et al. 2019, arXiv:1909.08053): the first matrices are cut by their outputs, the last by its
inputs; what they give is summed over the ranks, and so is, backwards, the gradient of what went in. All else is
computed on every rank alike. Tensors are plain ones, a rank's own part, so that attention and loss are those of one
process.

Axes: B batch, T tokens, D model width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as functional
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.errors import RecipeError
from danlu.nn.attention import Attention
from danlu.nn.experts import Experts
from danlu.nn.lora import AdaptedLinear
from danlu.nn.mlp import MLP
from danlu.nn.stack import Stack
from danlu.nn.transformer import Transformer
from danlu.parallel.mesh import Place

NOT_DIVIDED: dict[type[nn.Module], str] = {Experts: "experts", AdaptedLinear: "adapters"}


@dataclass(frozen=True, slots=True)
class Split:
    """How a weight lies over the tensor-parallel ranks."""

    axis: int | None
    """The axis that is cut; None for a weight that is whole on every rank, each of which has a part of its gradient."""
    parts: int = 1
    """Equal shares of the axis that are cut each: a gated MLP has gate and value in one matrix."""

    def part(self, whole: Tensor, rank: int, size: int) -> Tensor:
        """What ``rank`` of ``size`` holds."""
        if self.axis is None:
            return whole
        shares = whole.chunk(self.parts, self.axis)
        return torch.cat([share.chunk(size, self.axis)[rank] for share in shares], self.axis)

    def join(self, pieces: Sequence[Tensor]) -> Tensor:
        """The whole from what all ranks hold of it, or of its gradient."""
        if self.axis is None:
            return torch.stack(list(pieces)).sum(0)
        shares = zip(*(piece.chunk(self.parts, self.axis) for piece in pieces), strict=True)
        return torch.cat([each for share in shares for each in share], self.axis)


class _SumBackward(torch.autograd.Function):
    """What goes in is the same on all ranks; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _summed(grads[0], ctx.group), None


class _SumForward(torch.autograd.Function):
    """The sum of what all ranks have; its gradient is the same on all of them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        return _summed(x, group)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


def _summed(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    # The functional form is the one that torch.compile can follow.
    total: Tensor = functional.wait_tensor(functional.all_reduce(x.contiguous(), "sum", group))  # type: ignore[no-untyped-call]
    return total


class SummedLinear(nn.Linear):
    """The last matrix: each rank multiplies by its columns; the bias is added once, to the sum."""

    group: dist.ProcessGroup

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = _SumForward.apply(F.linear(x, self.weight), self.group)  # type: ignore[no-untyped-call]
        return out if self.bias is None else out + self.bias


def divide_products(model: Transformer, place: Place, group: dist.ProcessGroup) -> dict[str, Split]:
    """Cut the matrices of all blocks to this rank's part; what was cut, by name.

    Raises:
        RecipeError: heads or hidden numbers cannot be divided by the ranks, or there are layers of other kinds.
    """
    splits: dict[str, Split] = {}
    for name, module in list(model.named_modules()):
        if isinstance(module, Experts | AdaptedLinear):
            what = NOT_DIVIDED[type(module)]
            raise RecipeError(f"{place.section}.hardware.mesh.tensor must be 1 for a model with {what}")
        if isinstance(module, Attention):
            splits |= _divide_attention(name, module, place, group)
        elif isinstance(module, MLP):
            splits |= _divide_mlp(name, module, place, group)
        elif isinstance(module, Stack) and module.bias is not None:
            module.bias.register_forward_hook(_own_heads(place))
            splits |= {f"{name}.bias.{each}": Split(None) for each, _ in module.bias.named_parameters()}
    by_name = dict(model.named_parameters())
    with torch.no_grad():
        for name, split in splits.items():
            weight = by_name[name]
            weight.data = split.part(weight.data, place.tensor, place.tensor_size).clone()
    return splits


def _divide_attention(name: str, attention: Attention, place: Place, group: dist.ProcessGroup) -> dict[str, Split]:
    for what, width in zip(("heads", "kv_heads"), attention.widths, strict=False):
        _check_divides(f"the model's {what}", width // attention.head_dim, place)
    splits: dict[str, Split] = {}
    across = name.endswith(".cross")
    for each in ("query", "key", "value"):
        linear = getattr(attention, each)
        splits |= _cut(f"{name}.{each}", linear, axis=0)
        if across:  # queries and keys have different inputs
            linear.register_forward_pre_hook(_sum_backward(group))
    if not across:
        attention.register_forward_pre_hook(_sum_backward(group))
    queries, keys, values = (width // place.tensor_size for width in attention.widths)
    attention.widths = (queries, keys, values)
    # Gains of queries and keys, and what mixes places, are shared by heads of which each rank has some.
    shared = [each for each, _ in attention.named_parameters() if each == "places" or each.startswith("norm_")]
    splits |= {f"{name}.{each}": Split(None) for each in shared}
    return splits | _summing(f"{name}.out", attention.out, group)


def _divide_mlp(name: str, mlp: MLP, place: Place, group: dist.ProcessGroup) -> dict[str, Split]:
    _check_divides("the MLP's hidden size", mlp.down.in_features, place)
    mlp.register_forward_pre_hook(_sum_backward(group))
    parts = 2 if mlp.gated else 1
    return _cut(f"{name}.up", mlp.up, axis=0, parts=parts) | _summing(f"{name}.down", mlp.down, group)


def _cut(name: str, linear: nn.Linear, *, axis: int, parts: int = 1) -> dict[str, Split]:
    return {f"{name}.{each}": Split(axis, parts) for each, _ in linear.named_parameters()}


def _summing(name: str, linear: nn.Linear, group: dist.ProcessGroup) -> dict[str, Split]:
    linear.__class__ = SummedLinear  # the weights stay where they are, by the same names
    linear.group = group  # type: ignore[assignment]
    return {f"{name}.weight": Split(1)}


def _sum_backward(group: dist.ProcessGroup) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...]]:
    def hook(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (_SumBackward.apply(inputs[0], group), *inputs[1:])  # type: ignore[no-untyped-call]

    return hook


def _own_heads(place: Place) -> Callable[[nn.Module, Any, Tensor], Tensor]:
    def hook(module: nn.Module, inputs: Any, bias: Tensor) -> Tensor:
        return bias.chunk(place.tensor_size, -3)[place.tensor]

    return hook


def _check_divides(what: str, count: int, place: Place) -> None:
    if count % place.tensor_size:
        raise RecipeError(f"{place.section}.hardware.mesh.tensor must divide {what}, {count}; got {place.tensor_size}")

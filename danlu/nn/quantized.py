"""Frozen linear layers in 8 or 4 bits a weight, turned back into numbers where they are multiplied.

Gradients pass through to what comes before; the weights themselves have none (QLoRA, Dettmers et al.
2023, arXiv:2305.14314). What is kept for the backward pass are the codes, never the numbers.

Axes: O output rows, I inputs, G groups of a row, N weights of a group.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.nn.targets import LINEARS_OF_BLOCKS, named_layers, put

Format = Literal["int8", "int4", "nf4"]
"""``int8`` has a scale for each output row, the others one for each group; ``nf4`` is NormalFloat."""
GROUP = 64
"""Weights that share a scale where they have 4 bits."""
NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
"""Equally likely values of a normal variable, 0 among them, over the largest (appendix E of the paper)."""
LEVELS: dict[Format, tuple[float, ...]] = {"int4": tuple(step / 7 for step in range(-7, 8)), "nf4": NF4}
"""What 4 bits stand for, in shares of a group's largest weight."""
SMALLEST = torch.finfo(torch.float32).tiny


def encode(weight_OI: Tensor, form: Format) -> tuple[Tensor, Tensor]:
    """Codes and scales of a matrix.

    Returns:
        ``int8``: ``[O, I]`` int8 and ``[O, 1]`` float32; else two codes a byte, ``[O, G, N / 2]`` uint8, and
        ``[O, G, 1]`` float32. Rows are filled up with zeros to whole groups.
    """
    weight_OI = weight_OI.float()
    if form == "int8":
        scale_O1 = weight_OI.abs().amax(1, keepdim=True) / 127
        return (weight_OI / scale_O1.clamp_min(SMALLEST)).round().to(torch.int8), scale_O1
    groups_OGN = F.pad(weight_OI, (0, -weight_OI.shape[1] % GROUP)).view(len(weight_OI), -1, GROUP)
    scale_OG1 = groups_OGN.abs().amax(2, keepdim=True)
    levels = torch.tensor(LEVELS[form], device=weight_OI.device)
    nearest = torch.bucketize(groups_OGN / scale_OG1.clamp_min(SMALLEST), (levels[1:] + levels[:-1]) / 2)
    code_OGN = nearest.to(torch.uint8)
    return code_OGN[..., 0::2] | (code_OGN[..., 1::2] << 4), scale_OG1


def decode(codes: Tensor, scales: Tensor, levels: Tensor | None, columns: int, dtype: torch.dtype) -> Tensor:
    """The matrix ``[O, I]`` that the codes stand for; ``levels`` are those of 4 bits, None where there are 8."""
    if levels is None:
        return (codes.float() * scales).to(dtype)
    code_OGN = torch.stack((codes & 15, codes >> 4), dim=-1).flatten(2)
    return (levels[code_OGN.int()] * scales).flatten(1)[:, :columns].to(dtype)


class QuantizedLinear(nn.Module):
    """What stands in place of an ``nn.Linear``; its bias stays as it was, frozen.

    ``weight`` is made anew whenever it is asked for, in the type that the layer's weight had.
    """

    codes: Tensor
    scales: Tensor
    levels: Tensor | None

    def __init__(self, linear: nn.Linear, form: Format) -> None:
        super().__init__()
        self.in_features, self.out_features, self.form = linear.in_features, linear.out_features, form
        self.dtype = linear.weight.dtype
        codes, scales = encode(linear.weight.detach(), form)
        levels = None if form == "int8" else torch.tensor(LEVELS[form], device=codes.device)
        self.register_buffer("codes", codes)
        self.register_buffer("scales", scales)
        self.register_buffer("levels", levels, persistent=False)
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach(), requires_grad=False)

    @property
    def weight(self) -> Tensor:
        return decode(self.codes, self.scales, self.levels, self.in_features, self.dtype)

    def product(self, x: Tensor) -> Tensor:
        """``x @ weight.T``, without the bias."""
        out: Tensor = DecodedProduct.apply(  # type: ignore[no-untyped-call]
            x, self.codes, self.scales, self.levels, self.in_features
        )
        return out

    def forward(self, x: Tensor) -> Tensor:
        product = self.product(x)
        return product if self.bias is None else product + self.bias

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, form={self.form}"


class DecodedProduct(torch.autograd.Function):
    """``apply(x, codes, scales, levels, columns)``; decodes once more for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, codes: Tensor, scales: Tensor, levels: Tensor | None, columns: int) -> Tensor:
        ctx.save_for_backward(codes, scales, *([] if levels is None else [levels]))
        ctx.columns = columns
        return F.linear(x, decode(codes, scales, levels, columns, x.dtype))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        codes, scales, *levels = ctx.saved_tensors
        weight_OI = decode(codes, scales, levels[0] if levels else None, ctx.columns, grads[0].dtype)
        return grads[0] @ weight_OI, None, None, None, None


@torch.no_grad()
def dequantize(model: nn.Module) -> None:
    """Put plain layers in place of quantised ones, with the weights that their codes stand for."""
    for name, layer in [(name, each) for name, each in model.named_modules() if isinstance(each, QuantizedLinear)]:
        linear = nn.Linear(layer.in_features, layer.out_features, bias=False, device="meta")
        linear.weight = nn.Parameter(layer.weight)
        linear.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach())
        put(model, name, linear)


def quantize(model: nn.Module, form: Format, *, targets: Sequence[str] = (LINEARS_OF_BLOCKS,)) -> None:
    """Put quantised layers in place of the linear ones that ``targets`` name (:func:`named_layers`), one by one.

    Embedding, head, norms and mixed experts stay as they are. Adapters come afterwards
    (:func:`danlu.nn.lora.add_adapters`).

    Raises:
        RecipeError: a pattern names no linear layer.
    """
    for name, linear in named_layers(model, targets).items():
        assert isinstance(linear, nn.Linear)
        put(model, name, QuantizedLinear(linear, form))

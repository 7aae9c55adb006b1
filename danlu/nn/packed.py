"""Linear layers whose weights lie in memory as oneDNN reads them best: for models that only read and write.

With a few rows a product is as fast as memory gives its weight. Measured with bfloat16 and float32 on a processor,
a packed weight takes half to two thirds of the time of a plain one for 1 to 16 rows, and no longer for thousands.

Axes: I inputs, O outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from danlu.nn.attention import Attention
from danlu.nn.block import Block
from danlu.nn.head import LanguageModelHead
from danlu.nn.lora import AdaptedLinear
from danlu.nn.targets import put
from danlu.nn.transformer import Transformer

ROWS = 16
"""For so many rows oneDNN chooses the layout; it serves all other numbers as well."""
TYPES = (torch.float32, torch.bfloat16)

library = torch.library.Library("danlu", "FRAGMENT")  # type: ignore[no-untyped-call]
# A name of our own, for the compiler takes torch's own operator for one whose weight is a constant.
library.define("packed_linear(Tensor x, Tensor weight, Tensor? bias, SymInt outputs) -> Tensor")  # type: ignore[no-untyped-call]


@torch.library.impl(library, "packed_linear", "CompositeExplicitAutograd")
def _packed_linear(x: Tensor, weight: Tensor, bias: Tensor | None, outputs: int) -> Tensor:
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return out


@torch.library.register_fake("danlu::packed_linear", lib=library)  # type: ignore[untyped-decorator]
def _fake(x: Tensor, weight: Tensor, bias: Tensor | None, outputs: int) -> Tensor:
    return x.new_empty(*x.shape[:-1], outputs)


class PackedLinear(nn.Module):
    """What stands in place of an ``nn.Linear``; it has no gradients."""

    def __init__(self, weight_OI: Tensor, bias_O: Tensor | None) -> None:
        super().__init__()
        self.outputs, self.inputs = weight_OI.shape
        packed = torch.ops.mkldnn._reorder_linear_weight(weight_OI.detach().contiguous(), ROWS)
        self.register_buffer("weight", packed, persistent=False)
        self.register_buffer("bias", None if bias_O is None else bias_O.detach(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = torch.ops.danlu.packed_linear(x, self.weight, self.bias, self.outputs)
        return out

    def extra_repr(self) -> str:
        return f"inputs={self.inputs}, outputs={self.outputs}, bias={self.bias is not None}"


def may_be_packed(model: Transformer) -> bool:
    """Whether this torch and processor have the layout, and the model's numbers are of a type that it has."""
    weight = model.embedding.weight
    there: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not there or weight.device.type != "cpu" or weight.dtype not in TYPES:
        return False
    # As torch's own compiler asks: oneDNN multiplies bfloat16 on some processors only.
    return weight.dtype != torch.bfloat16 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def pack(model: Transformer) -> None:
    """Put packed layers in place of the linear ones of the blocks and of a language model's head.

    The model can then neither train nor be saved. An embedding that the head shares stays beside its packed copy.
    """
    for module in model.modules():
        if isinstance(module, Block):
            _join(module.attention)
    adapted = {module.base for module in model.modules() if isinstance(module, AdaptedLinear)}
    for name, linear in list(model.named_modules()):
        if type(linear) is nn.Linear and linear not in adapted:  # an adapter looks at its layer's weight
            put(model, name, PackedLinear(linear.weight, linear.bias))
    if isinstance(model.head, LanguageModelHead):
        model.head.product = PackedLinear(model.head.weight, model.head.bias)


def _join(attention: Attention) -> None:
    """Queries, keys and values of self-attention as one product, where nothing stands between."""
    names = ("query", "key", "value")
    linears = [getattr(attention, name) for name in names]
    if any(type(linear) is not nn.Linear for linear in linears):
        return
    bias = None if linears[0].bias is None else torch.cat([linear.bias for linear in linears])
    attention.joint = PackedLinear(torch.cat([linear.weight for linear in linears]), bias)
    for name in names:
        delattr(attention, name)

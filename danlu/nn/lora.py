"""Low-rank adapters: a frozen linear layer learns by the product of two narrow matrices added to its own.

LoRA (Hu et al. 2021, arXiv:2106.09685), its rank-stabilised scale (Kalajdzievski 2023, arXiv:2312.03732) and
DoRA (Liu et al. 2024, arXiv:2402.09353); over quantised layers (``nn/quantized.py``) it is QLoRA.

Axes: R rank, I inputs, O output rows (of a layer, or of the share of it that an adapter is for).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from danlu.errors import RecipeError
from danlu.nn.dropout import dropout
from danlu.nn.quantized import QuantizedLinear
from danlu.nn.targets import LINEARS_OF_BLOCKS, named_layers, put
from danlu.recipe import Settings

FROZEN = "frozen_before_adapters"
"""Where a model keeps the weights that had no gradient before it got adapters."""


class LoRA(Settings):
    """Adapters of one rank for the layers that ``targets`` name."""

    rank: int = Field(default=8, ge=1)
    """Width of the two matrices between each other."""
    alpha: float = Field(default=16.0, gt=0)
    """Their product is multiplied by ``alpha / rank``."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Of what goes into the adapters; the frozen layers see everything."""
    rank_stabilised: bool = False
    """Multiply by ``alpha / sqrt(rank)`` instead, so that the step does not shrink with the rank (rsLoRA)."""
    dora: bool = False
    """Learn the length of each row of the sum by itself, and only its direction by the product."""
    targets: tuple[str, ...] = (LINEARS_OF_BLOCKS,)
    """Regular expressions for the names of linear layers or for their ends: ``query``, ``blocks.0.mlp.*``."""


class LowRank(nn.Module):
    """One adapter: ``scale * b @ a`` is added to a matrix; with a ``magnitude``, its rows then get these lengths."""

    def __init__(
        self,
        a_RI: nn.Parameter,
        b_OR: nn.Parameter,
        *,
        alpha: float,
        rank_stabilised: bool = False,
        magnitude_O: nn.Parameter | None = None,
    ) -> None:
        super().__init__()
        self.a, self.b, self.magnitude = a_RI, b_OR, magnitude_O
        self.alpha, self.rank_stabilised = alpha, rank_stabilised

    @property
    def rank(self) -> int:
        return self.a.shape[0]

    @property
    def scale(self) -> float:
        return self.alpha / (self.rank**0.5 if self.rank_stabilised else self.rank)

    def added(self, weight_OI: Tensor) -> Tensor:
        """The sum, float32, before its rows get their lengths."""
        return weight_OI.float() + (self.b.float() @ self.a.float()) * self.scale

    def merged(self, weight_OI: Tensor) -> Tensor:
        """The matrix that layer and adapter are together, float32."""
        whole_OI = self.added(weight_OI)
        if self.magnitude is None:
            return whole_OI
        return whole_OI * _over_lengths(self.magnitude.float(), row_lengths(whole_OI))[:, None]

    def forward(self, product: Tensor, x: Tensor, weight_OI: Tensor | None) -> Tensor:
        """What the layer gives, ``product``, with the adapter; the weight is only needed where there are magnitudes."""
        # The scale is for the few numbers between the matrices; the sum is made where the product is.
        narrow = F.linear(x, self.a) * self.scale
        flat = torch.addmm(product.reshape(-1, product.shape[-1]), narrow.reshape(-1, self.rank), self.b.T)
        out = flat.view(product.shape)
        if self.magnitude is None:
            return out
        assert weight_OI is not None
        with torch.no_grad():  # the length is a constant to the gradient (section 4.3 of the paper)
            length_O = row_lengths(self.added(weight_OI))
        return out * _over_lengths(self.magnitude, length_O).to(out.dtype)


class AdaptedLinear(nn.Module):
    """A frozen linear layer and its adapters: one for each of ``parts`` equal shares of its rows, or for some of them.

    A gated MLP has gate and value in one matrix, each with an adapter of its own where they come from
    a folder that has them apart.
    """

    def __init__(self, base: nn.Linear | QuantizedLinear, *, parts: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.base, self.parts, self.dropout = base, parts, dropout
        self.adapter = nn.ModuleDict()
        self.dora = False

    @property
    def adapters(self) -> dict[int, LowRank]:
        """Share -> the adapter for it."""
        return {int(part): adapter for part, adapter in self.adapter.items() if isinstance(adapter, LowRank)}

    def adapt(self, part: int, adapter: LowRank) -> None:
        """Give a share its adapter."""
        self.adapter[str(part)] = adapter
        self.dora = adapter.magnitude is not None

    def forward(self, x: Tensor) -> Tensor:
        dropped = dropout(x, self.dropout, self.training)
        if not self.dora:
            return self._with_adapters(self.base(x), dropped, None)
        weight_OI = self.base.weight.detach()
        # Rows are given new lengths before the bias is added; the codes of a quantised weight are what is kept of it.
        product = F.linear(x, weight_OI) if isinstance(self.base, nn.Linear) else self.base.product(x)
        out = self._with_adapters(product, dropped, weight_OI)
        return out if self.base.bias is None else out + self.base.bias

    def _with_adapters(self, product: Tensor, x: Tensor, weight_OI: Tensor | None) -> Tensor:
        shares = list(product.chunk(self.parts, dim=-1))
        weights = [None] * self.parts if weight_OI is None else weight_OI.chunk(self.parts)
        for part, adapter in self.adapters.items():
            shares[part] = adapter(shares[part], x, weights[part])
        return torch.cat(shares, dim=-1) if self.parts > 1 else shares[0]

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """One linear layer that does what both do together; a layer that is not quantised is changed and given back."""
        shares = [share.float() for share in self.base.weight.chunk(self.parts)]
        for part, adapter in self.adapters.items():
            shares[part] = adapter.merged(shares[part])
        weight_OI = torch.cat(shares)
        if isinstance(self.base, nn.Linear):
            self.base.weight.copy_(weight_OI)
            return self.base
        linear = nn.Linear(self.base.in_features, self.base.out_features, bias=False, device="meta")
        linear.weight = nn.Parameter(weight_OI.to(self.base.dtype))
        linear.bias = None if self.base.bias is None else nn.Parameter(self.base.bias.detach())
        return linear


def _over_lengths(magnitude_O: Tensor, length_O: Tensor) -> Tensor:
    """``magnitude / length``; 1 for a row of zeros, which has no direction, so that it can get one.

    Matrices that write to the stream begin as zeros; ``peft`` divides 0 by 0 there.
    """
    zero_O = length_O == 0
    return torch.where(zero_O, 1.0, magnitude_O / length_O.masked_fill(zero_O, 1.0))


def row_lengths(weight_OI: Tensor) -> Tensor:
    """``[O]``, float32."""
    lengths_O: Tensor = torch.linalg.vector_norm(weight_OI.float(), dim=1)
    return lengths_O


def adapted_layers(model: nn.Module) -> dict[str, AdaptedLinear]:
    """The layers that have adapters, by name."""
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, AdaptedLinear)}


def is_adapter(name: str) -> bool:
    """Whether a parameter of this name is an adapter's."""
    return ".adapter." in name


def add_adapters(model: nn.Module, settings: LoRA, *, seed: int = 0) -> None:
    """Freeze ``model`` and give the layers that ``settings.targets`` name adapters that, as yet, change nothing.

    ``a`` is uniform within ``1 / sqrt(I)``, ``b`` is 0, lengths are those of the layer's rows.

    Raises:
        RecipeError: a target names no linear layer, or the model has adapters already.
    """
    refuse_second(model)
    generator = torch.Generator().manual_seed(seed)
    for name, layer in named_layers(model, settings.targets, (nn.Linear, QuantizedLinear)).items():
        assert isinstance(layer, nn.Linear | QuantizedLinear)
        weight_OI = layer.weight.detach()
        bound = layer.in_features**-0.5
        a_RI = torch.empty(settings.rank, layer.in_features).uniform_(-bound, bound, generator=generator)
        adapter = LowRank(
            nn.Parameter(a_RI.to(weight_OI)), nn.Parameter(weight_OI.new_zeros(layer.out_features, settings.rank)),
            alpha=settings.alpha, rank_stabilised=settings.rank_stabilised,
            magnitude_O=nn.Parameter(row_lengths(weight_OI).to(weight_OI)) if settings.dora else None,
        )  # fmt: skip
        adapted = AdaptedLinear(layer, dropout=settings.dropout)
        adapted.adapt(0, adapter)
        put(model, name, adapted.train(model.training))
    freeze_all_but_adapters(model)


def refuse_second(model: nn.Module) -> None:
    """One adapter a layer is what there can be.

    Raises:
        RecipeError: the model has adapters.
    """
    if adapted_layers(model):
        raise RecipeError("the model has adapters already; merge or remove them first")


def freeze_all_but_adapters(model: nn.Module) -> None:
    """Gradients for the adapters only."""
    vars(model)[FROZEN] = [weight for weight in model.parameters() if not weight.requires_grad]
    for name, weight in model.named_parameters():
        weight.requires_grad_(is_adapter(name))


@contextmanager
def without_adapters(model: nn.Module) -> Iterator[None]:
    """Have ``model`` be what it was before it got adapters."""
    kept = [(layer, layer.adapter, layer.dora) for layer in adapted_layers(model).values()]
    for layer, _, _ in kept:
        layer.adapter, layer.dora = nn.ModuleDict(), False
    try:
        yield
    finally:
        for layer, adapter, dora in kept:
            layer.adapter, layer.dora = adapter, dora


def merge(model: nn.Module) -> None:
    """Add the adapters to the weights; quantised layers that have one become plain ones again.

    What learned before there were adapters learns again, and so do the layers that became plain ones.
    """
    for name, layer in adapted_layers(model).items():
        put(model, name, layer.merged())
    _thaw(model)


def remove(model: nn.Module) -> None:
    """Take the adapters out again; what learned before learns again."""
    for name, layer in adapted_layers(model).items():
        put(model, name, layer.base)
    _thaw(model)


def _thaw(model: nn.Module) -> None:
    """Gradients for all but what had none before there were adapters."""
    frozen = {id(weight) for weight in vars(model).pop(FROZEN, ())}
    for weight in model.parameters():
        weight.requires_grad_(id(weight) not in frozen)

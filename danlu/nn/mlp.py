"""The feed-forward part of a block, and the activations that it may have."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.nn import config
from danlu.nn.dropout import dropout
from danlu.nn.relu import relu
from danlu.nn.remade import through

ACTIVATIONS: dict[config.ActivationName, Callable[[Tensor], Tensor]] = {
    "relu": relu,
    "relu2": lambda x: torch.relu(x).square(),  # So et al. 2021, arXiv:2109.08668
    "gelu": F.gelu,  # Hendrycks & Gimpel 2016, arXiv:1606.08415
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "tanh": torch.tanh,
}


class MLP(nn.Module):
    """Two matrices; a gated one (Shazeer 2020, arXiv:2002.05202) keeps gate and value in one product.

    With ``silu`` it is SwiGLU, with ``gelu`` GeGLU.
    """

    def __init__(self, settings: config.MLP, dim: int) -> None:
        super().__init__()
        self.gated = settings.gated
        self.activation = settings.activation
        self.dropout = settings.dropout
        self.up = nn.Linear(dim, settings.hidden * (2 if settings.gated else 1), bias=settings.bias)
        self.down = nn.Linear(settings.hidden, dim, bias=settings.bias)

    def forward(self, x_BTD: Tensor) -> Tensor:
        hidden: Tensor = self.up(x_BTD)
        if self.gated and not self.dropout:
            return through(self.down, self._gated, hidden)
        hidden = self._gated(hidden) if self.gated else ACTIVATIONS[self.activation](hidden)
        out: Tensor = self.down(dropout(hidden, self.dropout, self.training))
        return out

    def _gated(self, hidden: Tensor) -> Tensor:
        gate, value = hidden.chunk(2, dim=-1)
        return ACTIVATIONS[self.activation](gate) * value

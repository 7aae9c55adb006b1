"""The feed-forward part of a block: ReLU² (So et al. 2021) or SwiGLU (Shazeer 2020)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.nn.config import TransformerConfig


class MLP(nn.Module):
    """Two or three matrices without biases; a gated one keeps gate and value in one product."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.gated = config.activation == "swiglu"
        self.up = nn.Linear(config.dim, config.hidden * (2 if self.gated else 1), bias=False)
        self.down = nn.Linear(config.hidden, config.dim, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        hidden: Tensor = self.up(x_BTD)
        if self.gated:
            gate, value = hidden.chunk(2, dim=-1)
            hidden = F.silu(gate) * value
        else:
            hidden = torch.relu(hidden).square()
        out: Tensor = self.down(hidden)
        return out

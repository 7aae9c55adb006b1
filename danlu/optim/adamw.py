"""AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101), from ``torch.optim``, fused."""

from __future__ import annotations

import torch
from pydantic import Field

from danlu.optim.protocol import Decay, NamedParameters
from danlu.recipe import Choice


class AdamW(Choice):
    """Decoupled weight decay on matrices; none on gains."""

    lr: float = Field(default=1e-3, gt=0)
    """The learning rate at the schedule's peak."""
    betas: tuple[Decay, Decay] = (0.9, 0.95)
    """How slowly the running means of the gradient and of its square change."""
    eps: float = Field(default=1e-8, gt=0)
    """Added to the root of the mean square before dividing by it."""
    weight_decay: float = Field(default=0.1, ge=0)
    """How fast matrices shrink, in shares of the learning rate."""

    def build(self, parameters: NamedParameters) -> torch.optim.Optimizer:
        named = list(parameters)
        groups = [
            {"params": [p for _, p in named if p.ndim >= 2], "weight_decay": self.weight_decay, "lr_scale": self.lr},
            {"params": [p for _, p in named if p.ndim < 2], "weight_decay": 0.0, "lr_scale": self.lr},
        ]
        filled = [group for group in groups if group["params"]]
        return torch.optim.AdamW(filled, lr=self.lr, betas=self.betas, eps=self.eps, fused=True)

"""Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv:1711.05101), from ``torch.optim``, fused."""

from __future__ import annotations

import torch
from pydantic import Field

from danlu.optim.protocol import Decay, NamedParameters, decay_groups
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
        groups = decay_groups(parameters, lr=self.lr, weight_decay=self.weight_decay)
        return torch.optim.AdamW(groups, lr=self.lr, betas=self.betas, eps=self.eps, fused=True)

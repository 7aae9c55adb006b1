"""Lion (Chen et al. 2023, arXiv:2302.06675), from ``pytorch_optimizer``: the sign of a momentum."""

from __future__ import annotations

import torch
from pydantic import Field

from danlu.optim.protocol import Decay, NamedParameters, decay_groups
from danlu.optional import optional
from danlu.recipe import Choice


class Lion(Choice):
    """Decoupled weight decay on matrices; needs a lower rate and more decay than AdamW, three to ten times."""

    lr: float = Field(default=2e-4, gt=0)
    """The learning rate at the schedule's peak, by which every weight moves."""
    betas: tuple[Decay, Decay] = (0.9, 0.99)
    """The share of the momentum in the update, and how slowly the momentum changes."""
    weight_decay: float = Field(default=0.5, ge=0)
    """How fast matrices shrink, in shares of the learning rate."""

    def build(self, parameters: NamedParameters) -> torch.optim.Optimizer:
        library = optional("pytorch_optimizer", purpose="the optimizer lion")
        groups = decay_groups(parameters, lr=self.lr, weight_decay=self.weight_decay)
        optimizer: torch.optim.Optimizer = library.Lion(groups, lr=self.lr, betas=self.betas)
        return optimizer

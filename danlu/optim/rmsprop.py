"""RMSProp (Tieleman & Hinton 2012; centred: Graves 2013, arXiv:1308.0850), from ``torch.optim``."""

from __future__ import annotations

import torch
from pydantic import Field

from danlu.optim.protocol import Decay, NamedParameters, decay_groups
from danlu.recipe import Choice


class RMSProp(Choice):
    """Plain weight decay, as part of the gradient."""

    lr: float = Field(default=1e-3, gt=0)
    """The learning rate at the schedule's peak."""
    alpha: Decay = 0.99
    """How slowly the running mean of the squared gradient changes."""
    momentum: Decay = 0.0
    """The share of the last update that goes on."""
    centered: bool = False
    """Divide by the gradient's standard deviation rather than by the root of its mean square."""
    eps: float = Field(default=1e-8, gt=0)
    """Added to the root before dividing by it."""
    weight_decay: float = Field(default=0.0, ge=0)
    """The share of a matrix that is added to its gradient."""

    def build(self, parameters: NamedParameters) -> torch.optim.Optimizer:
        groups = decay_groups(parameters, lr=self.lr, weight_decay=self.weight_decay)
        return torch.optim.RMSprop(
            groups, lr=self.lr, alpha=self.alpha, momentum=self.momentum, centered=self.centered, eps=self.eps
        )

"""Adagrad (Duchi et al. 2011, https://jmlr.org/papers/v12/duchi11a.html), from ``torch.optim``."""

from __future__ import annotations

import torch
from pydantic import Field

from danlu.optim.protocol import NamedParameters, decay_groups
from danlu.recipe import Choice


class Adagrad(Choice):
    """Plain weight decay, as part of the gradient."""

    lr: float = Field(default=1e-2, gt=0)
    """The learning rate at the schedule's peak."""
    initial: float = Field(default=0.0, ge=0)
    """What the sum of squared gradients starts from; above 0, the first steps are shorter."""
    eps: float = Field(default=1e-10, gt=0)
    """Added to the root of the sum before dividing by it."""
    weight_decay: float = Field(default=0.0, ge=0)
    """The share of a matrix that is added to its gradient."""

    def build(self, parameters: NamedParameters) -> torch.optim.Optimizer:
        groups = decay_groups(parameters, lr=self.lr, weight_decay=self.weight_decay)
        return torch.optim.Adagrad(groups, lr=self.lr, initial_accumulator_value=self.initial, eps=self.eps)

"""Gradient descent, with momentum (Polyak 1964) or Nesterov's (Sutskever et al. 2013), from ``torch.optim``."""

from __future__ import annotations

from typing import Self

import torch
from pydantic import Field, model_validator

from danlu.optim.protocol import Decay, NamedParameters, decay_groups
from danlu.recipe import Choice


class SGD(Choice):
    """Plain weight decay, as part of the gradient."""

    lr: float = Field(default=0.1, gt=0)
    """The learning rate at the schedule's peak."""
    momentum: Decay = 0.9
    """The share of the last update that goes on; 0 is gradient descent as it stands."""
    nesterov: bool = False
    """Take the gradient's step after that of the momentum (Nesterov's accelerated gradient)."""
    weight_decay: float = Field(default=0.0, ge=0)
    """The share of a matrix that is added to its gradient."""

    @model_validator(mode="after")
    def _something_to_look_ahead_with(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0; got 0")
        return self

    def build(self, parameters: NamedParameters) -> torch.optim.Optimizer:
        groups = decay_groups(parameters, lr=self.lr, weight_decay=self.weight_decay)
        return torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov)

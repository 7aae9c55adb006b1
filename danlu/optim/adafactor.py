"""Adafactor (Shazeer & Stern 2018, arXiv:1804.04235), from ``torch.optim``: of squares, means of rows and columns."""

from __future__ import annotations

import torch
from pydantic import Field

from danlu.optim.protocol import NamedParameters, decay_groups
from danlu.recipe import Choice

FLOOR = 1e-15
"""Torch's ``eps[0]``, of which it takes the square: the paper's 1e-30.

Its own default of 1e-7 stands above the mean squares of a language model's gradients, which it would drown.
"""


class Adafactor(Choice):
    """Updates relative to the size of the weights; decoupled weight decay on matrices."""

    lr: float = Field(default=1e-2, gt=0)
    """The update of a matrix at the schedule's peak, as a share of the root mean square of its entries.

    From step ``1 / lr**2`` on, the paper's own bound counts where it is lower: ``1 / sqrt(step)``.
    """
    beta2_decay: float = Field(default=-0.8, le=0)
    """Step t has a share of ``t ** beta2_decay`` in the running mean of squared gradients."""
    clip: float = Field(default=1.0, ge=1)
    """The root mean square that an update, before ``lr``, is cut to."""
    smallest: float = Field(default=1e-3, gt=0)
    """Weights smaller than this (root mean square) move as if they had this size."""
    weight_decay: float = Field(default=0.0, ge=0)
    """How fast matrices shrink, in shares of the learning rate."""

    def build(self, parameters: NamedParameters) -> torch.optim.Optimizer:
        groups = decay_groups(parameters, lr=self.lr, weight_decay=self.weight_decay)
        return torch.optim.Adafactor(
            groups, lr=self.lr, beta2_decay=self.beta2_decay, eps=(FLOOR, self.smallest), d=self.clip
        )

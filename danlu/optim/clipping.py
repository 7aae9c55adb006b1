"""What is done to gradients that are too large, before the optimizer sees them.

Axes: R rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import torch
from pydantic import Field
from torch import Tensor

from danlu.recipe import Choice


class ClippingChoice(Protocol):
    """Settings of a limit on gradients."""

    def clip(self, parameters: Iterable[Tensor], norm: Tensor) -> None:
        """Change the gradients in place.

        Args:
            norm: of all gradients together, those included that other processes have.
        """
        ...


class NoClipping(Choice):
    """Gradients as they are."""

    def clip(self, parameters: Iterable[Tensor], norm: Tensor) -> None:
        """Leave all as it is."""


class ClipNorm(Choice):
    """Scale all gradients alike where their norm is above a limit (Pascanu et al. 2013, arXiv:1211.5063)."""

    limit: float = Field(default=1.0, gt=0)
    """The norm of all gradients together that is left as it is."""

    def clip(self, parameters: Iterable[Tensor], norm: Tensor) -> None:
        gradients = _gradients(parameters)
        if gradients and norm > self.limit:
            torch._foreach_mul_(gradients, self.limit / (norm + 1e-6))


class ClipValue(Choice):
    """Cut every entry of a gradient by itself; the direction changes."""

    limit: float = Field(default=1.0, gt=0)
    """The size of an entry that is left as it is."""

    def clip(self, parameters: Iterable[Tensor], norm: Tensor) -> None:
        for gradient in _gradients(parameters):
            gradient.clamp_(-self.limit, self.limit)


class ClipAdaptive(Choice):
    """Cut the gradient of each unit to a share of its weights (Brock et al. 2021, arXiv:2102.06171).

    A unit is a row of a matrix, of an expert's too; a vector is one unit. The head is cut as all else.
    """

    limit: float = Field(default=0.01, gt=0)
    """The norm of a unit's gradient as a share of the norm of its weights."""
    smallest: float = Field(default=1e-3, gt=0)
    """Units whose weights have a smaller norm are taken to have this one; else a unit of zeros could never learn."""

    def clip(self, parameters: Iterable[Tensor], norm: Tensor) -> None:
        for parameter in parameters:
            if parameter.grad is None:
                continue
            limit_R1 = _unit_norm(parameter.detach()).clamp_min(self.smallest) * self.limit
            norm_R1 = _unit_norm(parameter.grad).clamp_min(torch.finfo(parameter.dtype).tiny)
            # One that is within its limit is multiplied by 1, which leaves every bit of it.
            parameter.grad.mul_((limit_R1 / norm_R1).clamp_max(1.0))


def gradient_norm(parameters: Iterable[Tensor]) -> Tensor:
    """The norm of all gradients together."""
    norm: Tensor = torch.nn.utils.get_total_norm(_gradients(parameters), foreach=True)
    return norm


def _unit_norm(weight: Tensor) -> Tensor:
    """The norm of every row; of the whole where there are no rows."""
    norm: Tensor = torch.linalg.vector_norm(weight, dim=-1 if weight.ndim > 1 else None, keepdim=weight.ndim > 1)
    return norm


def _gradients(parameters: Iterable[Tensor]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]

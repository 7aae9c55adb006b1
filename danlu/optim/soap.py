"""SOAP (Vyas et al. 2024, arXiv:2409.11321), from ``pytorch_optimizer``: Adam in the eigenbasis of Shampoo."""

from __future__ import annotations

from collections.abc import Callable
from types import new_class
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from danlu.optim.protocol import Decay, NamedParameters, decay_groups
from danlu.optional import optional
from danlu.recipe import Choice

LISTS = ("GG", "Q")
"""What the library keeps as a list, one entry a side of the weight: statistics, and their eigenvectors."""


class SOAP(Choice):
    """Decoupled weight decay on matrices. The first step only gathers statistics; vectors get plain Adam."""

    lr: float = Field(default=3e-3, gt=0)
    """The learning rate at the schedule's peak."""
    betas: tuple[Decay, Decay] = (0.95, 0.95)
    """How slowly the running means of the gradient, and of its square in the eigenbasis, change."""
    shampoo_beta: Decay = 0.95
    """How slowly the statistics change."""
    frequency: int = Field(default=10, ge=1)
    """Steps from one eigenbasis to the next."""
    largest_side: int = Field(default=2048, ge=1)
    """Sides longer than this have no basis of their own, such as the vocabulary's."""
    eps: float = Field(default=1e-8, gt=0)
    """Added to the root of the mean square before dividing by it."""
    weight_decay: float = Field(default=0.01, ge=0)
    """How fast matrices shrink, in shares of the learning rate."""

    def build(self, parameters: NamedParameters) -> torch.optim.Optimizer:
        groups = decay_groups(parameters, lr=self.lr, weight_decay=self.weight_decay)
        library = optional("pytorch_optimizer", purpose="the optimizer soap")
        savable = new_class("SavableSOAP", (_SavableState, library.SOAP))
        optimizer: torch.optim.Optimizer = savable(
            groups, lr=self.lr, betas=self.betas, shampoo_beta=self.shampoo_beta,
            precondition_frequency=self.frequency, max_precondition_dim=self.largest_side, eps=self.eps,
        )  # fmt: skip
        return optimizer


class _SavableState(torch.optim.Optimizer):
    """Put before the library's class: a state of nothing but tensors and numbers, as a checkpoint keeps it."""

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = super().step(closure)
        for values in self.state.values():
            # Laid out as a checkpoint gives them back: products with another layout have other last bits.
            values["Q"] = [basis.contiguous() if isinstance(basis, Tensor) else basis for basis in values["Q"]]
        return loss

    def state_dict(self) -> dict[str, Any]:
        kept = super().state_dict()
        return {**kept, "state": {key: _spelled(values) for key, values in kept["state"].items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        state = {key: _gathered(values) for key, values in state_dict["state"].items()}
        super().load_state_dict({**state_dict, "state": state})


def _spelled(values: dict[str, Any]) -> dict[str, Any]:
    """A weight's state with the tensors of its lists under names of their own."""
    spelled = {name: value for name, value in values.items() if name not in LISTS}
    for name in LISTS:
        spelled |= {f"{name}_{side}": entry for side, entry in enumerate(values[name]) if isinstance(entry, Tensor)}
    return {**spelled, "sides": len(values["GG"])}


def _gathered(spelled: dict[str, Any]) -> dict[str, Any]:
    """The other way round; a side without a basis is an empty list, as the library has it."""
    lists = {name: [spelled.get(f"{name}_{side}", []) for side in range(spelled["sides"])] for name in LISTS}
    of_lists = {f"{name}_{side}" for name in LISTS for side in range(spelled["sides"])}
    return {**{name: value for name, value in spelled.items() if name not in of_lists | {"sides"}}, **lists}

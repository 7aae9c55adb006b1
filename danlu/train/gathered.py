"""An optimizer's state between its owners and rank 0: one ``state_dict`` of all, as one process would have it.

So that a checkpoint written by any number of ranks is read by any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from danlu.train.owners import OwnedMasters

State = dict[int, dict[str, Any]]


def optimizer_state(optimizer: torch.optim.Optimizer, masters: OwnedMasters) -> dict[str, Any]:
    """The ``state_dict`` of all owners together, on rank 0; empty on others. All ranks call it."""
    own = optimizer.state_dict()
    merged: State = {}
    for owner, told in enumerate(masters.ranks.all(_without_tensors(own["state"]))):
        for index, values in told.items():
            for name, value in values.items():
                if isinstance(value, _Shape):
                    here = own["state"][index][name] if owner == masters.ranks.rank else value.empty()
                    value = masters.pass_on(here, owner)  # noqa: PLW2901 (the tensor in place of its shape)
                    masters.ranks.tick()
                merged.setdefault(index, {})[name] = value
    return {"state": merged, "param_groups": own["param_groups"]} if masters.ranks.first else {}


def load_optimizer_state(optimizer: torch.optim.Optimizer, masters: OwnedMasters, state: dict[str, Any]) -> None:
    """Give every owner its part of the ``state_dict`` that rank 0 has. All ranks call it, others with nothing."""
    ranks = masters.ranks
    shapes, groups = ranks.from_first((_without_tensors(state.get("state", {})), state.get("param_groups")))
    owners = owners_by_index(optimizer, masters)
    own: State = {}
    for index, values in shapes.items():
        for name, value in values.items():
            if isinstance(value, _Shape) and not ranks.first and owners[index] == ranks.rank:
                value = ranks.receive(value.shape, value.dtype, 0)  # noqa: PLW2901
            elif isinstance(value, _Shape) and ranks.first:
                value = state["state"][index][name]  # noqa: PLW2901
                if owners[index] != 0:
                    ranks.send(value, owners[index])
            if owners[index] == ranks.rank:
                own.setdefault(index, {})[name] = value
    optimizer.load_state_dict({"state": own, "param_groups": groups})


def owners_by_index(optimizer: torch.optim.Optimizer, masters: OwnedMasters) -> list[int]:
    """The owner of each weight by its number in the optimizer's ``state_dict``."""
    owners = {id(master): masters.owners[name] for name, master in masters.named.items()}
    return [owners[id(weight)] for group in optimizer.param_groups for weight in group["params"]]


class _Shape:
    """What stands for a tensor where only its shape is sent."""

    def __init__(self, tensor: Tensor) -> None:
        self.shape, self.dtype = tuple(tensor.shape), tensor.dtype

    def empty(self) -> Tensor:
        return torch.empty(self.shape, dtype=self.dtype)


def _without_tensors(state: State) -> State:
    return {
        index: {name: _Shape(value) if isinstance(value, Tensor) else value for name, value in values.items()}
        for index, values in state.items()
    }

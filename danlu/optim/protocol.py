"""What an optimizer and a schedule are, and how parameters are told apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Protocol

import torch
from pydantic import Field
from torch import nn

from danlu.nn.lora import is_adapter

NamedParameters = Iterable[tuple[str, nn.Parameter]]
Decay = Annotated[float, Field(ge=0, lt=1)]
"""The share of a running mean that one step leaves as it was."""


class OptimizerChoice(Protocol):
    """Settings that build a ``torch.optim.Optimizer``.

    Every parameter group carries ``lr_scale``, the learning rate at the schedule's peak, by default the ``lr`` that it
    is built with; the loop sets ``lr = schedule(step) * lr_scale``.
    """

    def build(self, parameters: NamedParameters) -> torch.optim.Optimizer: ...


class ScheduleChoice(Protocol):
    """Settings of a learning-rate schedule."""

    def factor(self, step: int, *, steps: int, heldout: Sequence[tuple[int, float]] = ()) -> float:
        """The share of the peak learning rate, in [0, 1], at ``step`` of ``steps`` (counted from 0).

        Args:
            heldout: the held-out losses so far, in order: how many steps were done, and the loss then.
        """
        ...


def is_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Whether a parameter is a matrix inside a block, or a stack of them, one an expert.

    Gains, embeddings, the head and low-rank adapters are none.
    """
    return parameter.ndim in (2, 3) and "blocks." in name and not is_adapter(name)


def decays(name: str, parameter: nn.Parameter) -> bool:
    """Whether weight decay falls on a parameter: on matrices, those of tokens and of the head among them.

    Norms, biases, tables of relative positions and what is added to the embeddings at the entry (positions, token
    types) are spared: they are offsets and gains, whatever their shape.
    """
    return parameter.ndim >= 2 and not {"bias", "entry"} & set(name.split("."))


def decay_groups(parameters: NamedParameters, *, lr: float, weight_decay: float) -> list[dict[str, Any]]:
    """What decays and what does not, as parameter groups of one learning rate; a group of none is left out."""
    named = list(parameters)
    groups: list[dict[str, Any]] = [
        {"params": [p for name, p in named if decays(name, p)], "weight_decay": weight_decay, "lr_scale": lr},
        {"params": [p for name, p in named if not decays(name, p)], "weight_decay": 0.0, "lr_scale": lr},
    ]
    return [group for group in groups if group["params"]]

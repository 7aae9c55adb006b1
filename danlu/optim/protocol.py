"""What an optimizer and a schedule are, and how parameters are told apart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Protocol

import torch
from pydantic import Field
from torch import nn

from danlu.nn.lora import is_adapter

NamedParameters = Iterable[tuple[str, nn.Parameter]]
Decay = Annotated[float, Field(ge=0, lt=1)]
"""The share of a running mean that one step leaves as it was."""


class OptimizerChoice(Protocol):
    """Settings that build a ``torch.optim.Optimizer``.

    Every parameter group carries ``lr_scale``, the learning rate at the schedule's peak; the loop
    sets ``lr = schedule(step) * lr_scale``.
    """

    def build(self, parameters: NamedParameters) -> torch.optim.Optimizer: ...


class ScheduleChoice(Protocol):
    """Settings of a learning-rate schedule."""

    def factor(self, step: int, *, steps: int) -> float:
        """The share of the peak learning rate, in [0, 1], at ``step`` of ``steps`` (counted from 0)."""
        ...


def is_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Whether a parameter is a matrix inside a block (not a gain, an embedding, the head or a low-rank adapter)."""
    return parameter.ndim == 2 and "blocks." in name and not is_adapter(name)

"""What an objective is."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from torch import Tensor

from danlu.corpus.batches import Array, Batch, Example
from danlu.nn.transformer import Transformer


class Objective(Protocol):
    """A choice of what is learned: how a row becomes inputs and targets, and what a batch costs."""

    def example(self, row: Array, *, eot: int | None, noise: np.random.Generator) -> Example:
        """Inputs and targets from ``[1 + targets]`` token ids; ``eot`` parts documents, None where there is but one."""
        ...

    def loss(self, model: Transformer, batch: Batch) -> Tensor:
        """The SUM of the losses over the scored targets, in nats; the loop divides by the global count."""
        ...

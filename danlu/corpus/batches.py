"""Examples to batches of tensors, and the batches of a step as a pure function of its number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from danlu.corpus.rows import Rows

IGNORE = -100
"""The target that is not scored, as in ``torch.nn.functional.cross_entropy``."""

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Example:
    """One row as an objective wants it; ``inputs`` and ``targets`` are ``[length]``."""

    inputs: dict[str, Array]
    targets: Array


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples stacked to ``[B, T]``; ``count`` is the number of targets that are scored."""

    inputs: dict[str, Tensor]
    targets: Tensor
    count: int


class MakeExample(Protocol):
    """An objective's ``example``, told the end-of-text token."""

    def __call__(self, row: Array, *, noise: np.random.Generator) -> Example:
        """Inputs and targets from ``[1 + targets]`` token ids and a random source of the row's own."""
        ...


def collate(examples: Sequence[Example], *, length: int) -> Batch:
    """Pad to ``length`` (inputs with 0, targets with ``IGNORE``) and stack."""
    inputs = {
        name: torch.from_numpy(np.stack([_pad(example.inputs[name], length, 0) for example in examples]))
        for name in examples[0].inputs
    }
    targets = torch.from_numpy(np.stack([_pad(example.targets, length, IGNORE) for example in examples]))
    return Batch(inputs, targets, int((targets != IGNORE).sum()))


def _pad(values: Array, length: int, filler: int) -> Array:
    return np.pad(values, (0, length - len(values)), constant_values=filler)


@dataclass(frozen=True)
class StepBatches:
    """The micro-batches of a step: nothing but the step number decides what is in them."""

    rows: Rows
    example: MakeExample
    batch: int
    """Rows a step."""
    micro_batch: int
    """Rows that go through the model at once."""

    def __call__(self, step: int) -> list[Batch]:
        """The micro-batches of ``step``, counted from 0."""
        numbers = range(step * self.batch, (step + 1) * self.batch)
        examples = [self.example(self.rows[number], noise=self._noise(number)) for number in numbers]
        cuts = range(0, self.batch, self.micro_batch)
        return [collate(examples[cut : cut + self.micro_batch], length=self.rows.length) for cut in cuts]

    def _noise(self, number: int) -> np.random.Generator:
        """The random source of one row of one epoch, for objectives that corrupt it."""
        # The 1 keeps it apart from the sources of the row order, which are [seed, epoch].
        return np.random.Generator(np.random.Philox(np.random.SeedSequence([self.rows.seed, number, 1])))

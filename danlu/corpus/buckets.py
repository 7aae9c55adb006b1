"""Steps of rows of all lengths, about as many tokens in each, with those of like length side by side.

Rows, the longest first, lie in layers of as many as there are steps in an epoch. In each epoch every layer is dealt out
anew, a row to each step (stratified sampling), so that a step has the tokens of any other but for the places of one
full row at most. Which rows a step has is computed from its number: nothing is listed or sorted but the sizes that rows
can have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from danlu.corpus.batches import Group
from danlu.corpus.rows import Ints, Widths
from danlu.corpus.shuffle import dealt

WIDTH_STEP = 64
"""Rows are padded to multiples of this: few shapes, which are compiled once each."""


@dataclass
class Buckets:
    """Which rows a step has; rows are numbered by size, those of the first size first."""

    sizes: Widths
    """``[sizes]`` each, of the rows."""
    counts: Ints
    """``[sizes]`` rows of each."""
    room: Widths
    batch: int
    """Full rows whose places a step has."""
    micro_batch: int
    """Full rows whose places a micro-batch has."""
    seed: int
    per_epoch: int = field(init=False)
    """Steps that have every row once."""
    _first: Ints = field(init=False, repr=False)
    """``[sizes]`` the first row of each, the longest size first."""
    _before: Ints = field(init=False, repr=False)
    """``[sizes + 1]`` rows that are longer."""
    _padded: Widths = field(init=False, repr=False)
    """``[sizes]`` each, the longest first."""

    def __post_init__(self) -> None:
        inputs = np.asarray(self.sizes.inputs, dtype=np.int64)
        source = np.broadcast_to(np.asarray(self.sizes.source, dtype=np.int64), inputs.shape)
        order = np.argsort(-(inputs + source), kind="stable")
        self._first = (np.cumsum(self.counts) - self.counts)[order]
        self._before = np.concatenate(([0], np.cumsum(self.counts[order])))
        self._padded = Widths(_up(inputs[order], int(self.room.inputs)), _up(source[order], int(self.room.source)))
        places = sum(((inputs + source) * self.counts).tolist())
        self.per_epoch = max(1, math.ceil(places / (self.batch * self._full)))

    @property
    def _full(self) -> int:
        return int(self.room.inputs) + int(self.room.source)

    def __call__(self, step: int) -> list[Group]:
        epoch, turn = divmod(step, self.per_epoch)
        count = int(self._before[-1])
        layers = -(-count // self.per_epoch)
        # The 5 keeps it apart from the sources of the noise and of the orders of other readings.
        places = np.arange(layers) * self.per_epoch + dealt(self.per_epoch, layers, turn, self.seed, epoch, 5)
        places = places[places < count]
        kinds = np.searchsorted(self._before, places, side="right") - 1
        rows = epoch * count + self._first[kinds] + places - self._before[kinds]
        inputs, source = self._padded.inputs[kinds], self._padded.source[kinds]
        groups: list[Group] = []
        begin = 0
        while begin < len(rows):
            end = begin + max(1, self.micro_batch * self._full // int(inputs[begin] + source[begin]))
            widest = Widths(int(inputs[begin:end].max()), int(source[begin:end].max()))
            groups.append(Group(rows[begin:end].tolist(), widest))
            begin = end
        return groups


def _up(widths: Ints, most: int) -> Ints:
    return np.minimum(most, -(-widths // WIDTH_STEP) * WIDTH_STEP)

"""Documents of a packed row in runs of like length, and where their tokens stand when a run is filled up.

What works on documents by themselves, as attention does (``nn/run_attention.py``), then works on a run as on a batch,
with little padding: at most :data:`WASTE` of a run that matters.

Axes: N tokens, C documents of a run, T tokens of the longest document.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

WASTE = 0.3
"""Share of the scores of a run that may be of padding: more, smaller runs would take longer."""
FEW = 4096
"""Scores of a head below which a run is so small that its padding does not matter."""
ALONE = 256
"""Tokens from which on equally long documents are a run of their own: filling them up would take longer."""

Ints = NDArray[np.int64]
Size = tuple[int, int]
"""Queries and keys of a document."""


class Places(NamedTuple):
    """How a run is filled up, and back."""

    places_CT: Tensor
    """Which token of the run stands there; the first for padding."""
    real_CT: Tensor
    """Whether it is no padding."""
    back_N: Tensor
    """Where the tokens of the run are in the flattened ``[C, T]``."""


@dataclass(frozen=True)
class Run:
    """Documents of like length, one behind the other."""

    start: int
    lengths: tuple[int, ...]
    """Of the documents, in their order."""
    _places: dict[torch.device, Places] = field(default_factory=dict, repr=False, compare=False)

    @property
    def end(self) -> int:
        return self.start + sum(self.lengths)

    @property
    def longest(self) -> int:
        return max(self.lengths)

    @property
    def alike(self) -> bool:
        """Whether all are equally long."""
        return min(self.lengths) == self.longest

    def places(self, device: torch.device) -> Places:
        """Where its tokens stand when all documents are filled up to the longest."""
        if device not in self._places:
            lengths_C1 = torch.tensor(self.lengths, device=device)[:, None]
            within_1T = torch.arange(self.longest, device=device)[None]
            real_CT = within_1T < lengths_C1
            starts_C1 = lengths_C1.cumsum(0) - lengths_C1
            back_N = real_CT.flatten().nonzero().flatten()
            self._places[device] = Places((starts_C1 + within_1T) * real_CT, real_CT, back_N)
        return self._places[device]


class Pair(NamedTuple):
    """A run of queries, and that of the keys of the same documents, which are other tokens."""

    queries: Run
    keys: Run


def find_runs(segments_1N: Tensor) -> tuple[Run, ...] | None:
    """The runs of a row by its document numbers; None where a number comes again."""
    numbers_C, lengths_C = _documents_of(segments_1N)
    if len(np.unique(numbers_C)) < len(numbers_C):
        return None
    return _in_order([[length for length, _ in draft.sizes] for draft in _drafts(np.stack([lengths_C, lengths_C], 1))])


def find_pairs(of_queries_1N: Tensor, of_keys_1M: Tensor) -> tuple[Pair, ...] | None:
    """The runs of two rows by their document numbers; None where one comes again, or they are not the same."""
    numbers_C, queries_C = _documents_of(of_queries_1N)
    others_C, keys_C = _documents_of(of_keys_1M)
    if len(np.unique(numbers_C)) < len(numbers_C) or not np.array_equal(numbers_C, others_C):
        return None
    drafts = _drafts(np.stack([queries_C, keys_C], 1))
    sides = (_in_order([[size[side] for size in draft.sizes] for draft in drafts]) for side in range(2))
    return tuple(Pair(queries, keys) for queries, keys in zip(*sides, strict=True))


def _documents_of(segments_1N: Tensor) -> tuple[Ints, Ints]:
    """The numbers of the documents, and how many tokens they have, in order."""
    numbers, counts = torch.unique_consecutive(segments_1N[0], return_counts=True)
    return numbers.cpu().numpy(), counts.cpu().numpy()


def _in_order(lengths: list[list[int]]) -> tuple[Run, ...]:
    """Runs of such documents, one behind the other."""
    starts = np.cumsum([0, *map(sum, lengths)]).tolist()
    return tuple(Run(start, tuple(own)) for start, own in zip(starts, lengths, strict=False))


def _drafts(sizes_C2: Ints) -> list[_Draft]:
    """The documents in runs."""
    drafts: list[_Draft] = []
    for alike in np.split(sizes_C2, np.flatnonzero(np.diff(sizes_C2, axis=0).any(1)) + 1):
        size, count = (int(alike[0, 0]), int(alike[0, 1])), len(alike)
        if not drafts or drafts[-1].closed or size[0] * count >= ALONE:
            drafts.append(_Draft(closed=size[0] * count >= ALONE))
            drafts[-1].add(size, count)
            continue
        for _ in range(count):
            if not drafts[-1].has_room(size):
                drafts.append(_Draft())
            drafts[-1].add(size)
    return drafts


@dataclass
class _Draft:
    """A run while documents are added to it."""

    sizes: list[Size] = field(default_factory=list)
    scores: int = 0
    """Of a head, padding not counted."""
    longest: Size = (0, 0)
    """The most queries and the most keys."""
    closed: bool = False
    """Whether it takes no more."""

    def add(self, size: Size, count: int = 1) -> None:
        self.sizes += [size] * count
        self.scores += count * size[0] * size[1]
        self.longest = self._longest_with(size)

    def has_room(self, size: Size) -> bool:
        """Whether little of it would be padding with one more."""
        queries, keys = self._longest_with(size)
        scores = (len(self.sizes) + 1) * queries * keys
        return scores <= FEW or scores - self.scores - size[0] * size[1] <= WASTE * scores

    def _longest_with(self, size: Size) -> Size:
        return max(self.longest[0], size[0]), max(self.longest[1], size[1])

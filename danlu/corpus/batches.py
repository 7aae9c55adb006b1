"""Examples to batches of tensors, and the batches of a step as a pure function of its number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from danlu.corpus.rows import Piece, Rows, Widths

IGNORE = -100
"""The target that is not scored, as in ``torch.nn.functional.cross_entropy``."""
PADDING = -1
"""The document number of padding."""

Array = np.ndarray[Any, Any]


class Extract(NamedTuple):
    """Tokens of a store that follow each other in its stream."""

    start: int
    end: int
    """Behind the last."""
    drawn: bool = False
    """Whether the objective drew them to stand beside the piece that the example is of."""


@dataclass(frozen=True, slots=True)
class Example:
    """One piece as an objective wants it. Of a model with two sides, ``inputs`` are the decoder's."""

    inputs: dict[str, Array]
    """``[T]`` each; ``tokens`` is among them."""
    targets: dict[str, Array]
    """``[T]`` each, by the name of the loss that scores them; ``IGNORE`` where nothing is scored."""
    source: dict[str, Array] = field(default_factory=dict)
    """``[S]`` each: what the encoder beside a decoder reads, ``tokens`` among them."""
    parts: tuple[int, ...] = ()
    """Tokens of each of several documents in ``inputs``, which do not see each other; none where it is one."""
    made_of: tuple[Extract, ...] = ()
    """Which tokens of the piece's store it reads, in its own order; none where those are all of the piece. Nothing is
    learned from it: it is for those who ask where a text comes from."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows stacked to ``[B, T]``, and ``[B, S]`` of the source."""

    inputs: dict[str, Tensor]
    targets: dict[str, Tensor]
    counts: dict[str, int]
    """Targets that are scored, by the name of the loss; the task stands before a dot there, where there are several."""
    tokens: int
    """Tokens that are read, padding not counted."""
    source: dict[str, Tensor] = field(default_factory=dict)
    task: str = ""
    """Which of several objectives made it."""

    def to(self, device: torch.device) -> Batch:
        """The same, there."""
        if device.type == "cpu":
            return self
        return self._each(lambda value: value.to(device, non_blocking=True))

    def pinned(self) -> Batch:
        """The same in memory that a GPU reads without the processor's help."""
        return self._each(Tensor.pin_memory)

    def halves(self) -> tuple[Batch, Batch]:
        """The first rows and the others; there must be two at least."""
        middle = len(self.inputs["tokens"]) // 2
        return self._rows(slice(None, middle)), self._rows(slice(middle, None))

    def _rows(self, rows: slice) -> Batch:
        part = self._each(lambda value: value[rows])
        return replace(part, counts=_counts(part.targets, self.task), tokens=0)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        inputs, targets, source = (
            {name: change(value) for name, value in part.items()} for part in (self.inputs, self.targets, self.source)
        )
        return replace(self, inputs=inputs, targets=targets, source=source)


class MakeExample(Protocol):
    """An objective's ``example``, told the vocabulary."""

    def __call__(self, piece: Piece, *, noise: np.random.Generator) -> Example:
        """Inputs and targets from a piece and a random source of the row's own."""
        ...


def collate(rows: Sequence[Sequence[Example]], *, widths: Widths, segments: bool = True, task: str = "") -> Batch:
    """Put the examples of each row behind each other, pad (inputs with 0, targets with ``IGNORE``), stack.

    Args:
        widths: what rows are padded to.
        segments: whether ``inputs`` and ``source`` say which example of its row each token is of, ``PADDING`` for
            none; without, a row must be one document, and padding stands where nobody looks.
        task: which of several objectives made the examples.
    """
    first = rows[0][0]
    inputs = {name: _stack([[each.inputs[name] for each in row] for row in rows], widths.inputs, 0)
              for name in first.inputs}  # fmt: skip
    targets = {name: _stack([[each.targets[name] for each in row] for row in rows], widths.inputs, IGNORE)
               for name in first.targets}  # fmt: skip
    source = {name: _stack([[each.source[name] for each in row] for row in rows], widths.source, 0)
              for name in first.source}  # fmt: skip
    sizes = [[size for each in row for size in each.parts or (len(each.inputs["tokens"]),)] for row in rows]
    source_sizes = [[len(each.source["tokens"]) for each in row] for row in rows] if source else []
    if segments:
        inputs["segments"] = _segments(sizes, widths.inputs)
        if source:
            source["segments"] = _segments(source_sizes, widths.source)
    tokens = sum(map(sum, sizes)) + sum(map(sum, source_sizes))
    return Batch(inputs, targets, _counts(targets, task), tokens, source, task)


def _counts(targets: dict[str, Tensor], task: str) -> dict[str, int]:
    before = f"{task}." if task else ""
    return {before + name: int((values != IGNORE).sum()) for name, values in targets.items()}


def _stack(rows: Sequence[Sequence[Array]], width: int, filler: int) -> Tensor:
    kind = np.result_type(*(part.dtype for part in rows[0]))
    stacked = np.full((len(rows), width), filler, dtype=kind)
    for row, parts in zip(stacked, rows, strict=True):
        joined = np.concatenate(parts)
        row[: len(joined)] = joined
    return torch.from_numpy(stacked)


def _segments(sizes: Sequence[Sequence[int]], width: int) -> Tensor:
    stacked = np.full((len(sizes), width), PADDING, dtype=np.int64)
    for row, lengths in zip(stacked, sizes, strict=True):
        row[: sum(lengths)] = np.repeat(np.arange(len(lengths)), lengths)
    return torch.from_numpy(stacked)


class Group(NamedTuple):
    """Rows that go through the model at once."""

    numbers: Sequence[int]
    widths: Widths


@dataclass(frozen=True)
class StepBatches:
    """The micro-batches of a step: nothing but the step number decides what is in them."""

    rows: Rows
    example: MakeExample
    groups: Callable[[int], Sequence[Group]]
    """What a step is made of, all ranks together."""

    def __call__(self, step: int) -> list[Batch]:
        """The micro-batches of ``step``, counted from 0."""
        return [self.make(group) for group in self.groups(step)]

    def make(self, group: Group) -> Batch:
        """One micro-batch."""
        return make_batch(self.rows, self.example, group, self.noise)

    def noise(self, number: int) -> np.random.Generator:
        """The random source of one row of one epoch, for objectives that corrupt it."""
        # The 1 keeps it apart from the sources of the row order, which are [seed, epoch].
        return np.random.Generator(np.random.Philox(np.random.SeedSequence([self.rows.seed, number, 1])))


def make_batch(rows: Rows, example: MakeExample, group: Group, noise: Callable[[int], np.random.Generator]) -> Batch:
    """The rows of a group, which are all of one task; ``noise`` is the random source of a row by its number."""
    pieces = [(number, rows[number]) for number in group.numbers]
    made = [make_examples(example, each, noise(number)) for number, each in pieces]
    return collate(made, widths=group.widths, segments=rows.several, task=pieces[0][1][0].task)


def make_examples(example: MakeExample, pieces: Sequence[Piece], noise: np.random.Generator) -> list[Example]:
    """The examples of a row, which draw from one source in turn."""
    return [example(piece, noise=noise) for piece in pieces]


@dataclass(frozen=True)
class EqualGroups:
    """Steps of ``batch`` rows, ``micro_batch`` of them at once, all padded to ``widths``."""

    batch: int
    micro_batch: int
    widths: Widths

    def __call__(self, step: int) -> list[Group]:
        numbers = range(step * self.batch, (step + 1) * self.batch)
        cuts = range(0, self.batch, self.micro_batch)
        return [Group(numbers[cut : cut + self.micro_batch], self.widths) for cut in cuts]

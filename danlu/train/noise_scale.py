"""The gradient noise scale: how many rows a step can use (McCandlish et al. 2018, arXiv:1812.06162).

The gradient of a step of B rows is the true one, G, and noise: ``E|G_B|² = |G|² + tr(Σ) / B``, with Σ the covariance of
one row's gradient. Two sizes of B give both unknowns without bias (appendix A.1), and ``tr(Σ) / |G|²`` is the batch at
which noise and gradient are alike: with fewer rows, half of them need twice the steps, and with more, twice the rows
save hardly any. It is for plain gradient descent; for other optimizers it is known to hold to within a small factor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import torch
from torch import Tensor

from danlu.corpus.batches import Batch
from danlu.nn.transformer import Transformer
from danlu.objectives.protocol import Lesson, total_loss
from danlu.train.gradients import count_targets

ERRORS = 2.0
"""The spread is this many standard errors to both sides."""


@dataclass(frozen=True, slots=True)
class Norms:
    """Squared norms of gradients of the same weights."""

    small: float
    """The mean over the parts of a block."""
    small_rows: float
    """Rows of a part; where they differ, the harmonic mean, for it is ``1 / B`` that is averaged."""
    big: float
    """Of the whole block."""
    big_rows: int

    @property
    def squared(self) -> float:
        """``|G|²`` without bias (equation A.2); below 0 by chance, where there is little of it."""
        return (self.big_rows * self.big - self.small_rows * self.small) / (self.big_rows - self.small_rows)

    @property
    def trace(self) -> float:
        """``tr(Σ)`` without bias (equation A.3)."""
        return (self.small - self.big) / (1 / self.small_rows - 1 / self.big_rows)


@dataclass(frozen=True, slots=True)
class NoiseScale:
    """In rows of ``pretrain.batch``."""

    step: int
    """Steps that were done before it was measured."""
    rows: float
    """``tr(Σ) / |G|²``; infinite where no gradient was found among the noise."""
    low: float
    high: float
    """Two standard errors of both parts to either side; infinite where the gradient may be none."""


def noise_scale(blocks: Sequence[Norms], *, step: int = 0, unit: float = 1.0) -> NoiseScale:
    """From two blocks or more, at the same weights: the ratio of the means, for the mean of ratios is biased.

    Args:
        unit: what a row of the blocks counts, where a row of ``pretrain.batch`` holds more or fewer of them.
    """
    traces, squares = [block.trace for block in blocks], [block.squared for block in blocks]
    (trace, trace_error), (squared, squared_error) = _mean_and_error(traces), _mean_and_error(squares)
    return NoiseScale(
        step,
        unit * _ratio(trace, squared),
        unit * _ratio(max(0.0, trace - trace_error), squared + squared_error),
        unit * _ratio(trace + trace_error, squared - squared_error),
    )


def _mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    return fmean(values), ERRORS * stdev(values) / math.sqrt(len(values))


def _ratio(trace: float, squared: float) -> float:
    return trace / squared if squared > 0 else math.inf


def measure(model: Transformer, lesson: Lesson, parameters: Sequence[Tensor], parts: Sequence[Batch]) -> Norms:
    """Norms of the gradients of ``parts``, two or more, and of all of them together; the weights stay as they are.

    A row's gradient is that of its sum of losses over the mean count of targets of a row, so that the block's is the
    mean of its rows', also where they have different counts.

    Args:
        parameters: what the gradients arrive at, the float32 masters of a bfloat16 model say.
    """
    assert len(parts) > 1, "noise is seen between parts"
    counts = count_targets(parts)
    sizes = [len(next(iter(part.inputs.values()))) for part in parts]
    rows = sum(sizes)
    whole = [torch.zeros_like(parameter) for parameter in parameters]
    squares = []
    model.train()
    for part, size in zip(parts, sizes, strict=True):
        _clear(parameters)
        if any(part.counts.values()):
            device = next(model.parameters()).device
            losses = lesson.losses(model, part.to(device))
            total_loss(lesson, losses, counts).backward()  # type: ignore[no-untyped-call]
        pairs = [(total, p.grad) for total, p in zip(whole, parameters, strict=True) if p.grad is not None]
        squares.append(_squared_norm([gradient for _, gradient in pairs]) * (rows / size) ** 2)
        for total, gradient in pairs:
            total.add_(gradient)
    _clear(parameters)
    return Norms(fmean(squares), len(sizes) / sum(1 / size for size in sizes), _squared_norm(whole), rows)


def _squared_norm(tensors: Sequence[Tensor]) -> float:
    return float(torch.nn.utils.get_total_norm(tensors, foreach=True)) ** 2


def _clear(parameters: Sequence[Tensor]) -> None:
    for parameter in parameters:
        parameter.grad = None

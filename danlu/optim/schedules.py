"""Learning-rate schedules: pure functions of the step, and of the held-out losses so far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

from pydantic import Field, model_validator

from danlu.recipe import Choice


class Constant(Choice):
    """Linear warm-up, then the peak to the end."""

    warmup: float = Field(default=0.02, ge=0, lt=1)
    """Share of the steps that warm up."""

    def factor(self, step: int, *, steps: int, heldout: Sequence[tuple[int, float]] = ()) -> float:
        return _warmed(step, self.warmup * steps)


class Linear(Choice):
    """Linear warm-up, then straight down to ``final``, as BERT is trained (Devlin et al. 2019, arXiv:1810.04805)."""

    warmup: float = Field(default=0.02, ge=0, lt=1)
    """Share of the steps that warm up."""
    final: float = Field(default=0.0, ge=0, le=1)
    """Where the line ends, as a share of the peak."""

    def factor(self, step: int, *, steps: int, heldout: Sequence[tuple[int, float]] = ()) -> float:
        warmup = self.warmup * steps
        if step < warmup:
            return _warmed(step, warmup)
        return self.final + (1 - self.final) * (1 - _done(step, warmup, steps))


class Cosine(Choice):
    """Linear warm-up, then half a cosine down to ``final`` (Loshchilov & Hutter 2017, arXiv:1608.03983)."""

    warmup: float = Field(default=0.02, ge=0, lt=1)
    """Share of the steps that warm up."""
    final: float = Field(default=0.1, ge=0, le=1)
    """Where the cosine ends, as a share of the peak."""

    def factor(self, step: int, *, steps: int, heldout: Sequence[tuple[int, float]] = ()) -> float:
        warmup = self.warmup * steps
        if step < warmup:
            return _warmed(step, warmup)
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * _done(step, warmup, steps)))


class WarmupStableDecay(Choice):
    """Linear warm-up, a plateau, a linear cooldown (Zhai et al. 2022; Hu et al. 2024, arXiv:2404.06395)."""

    warmup: float = Field(default=0.0, ge=0, lt=1)
    """Share of the steps that warm up."""
    decay: float = Field(default=0.6, ge=0, le=1)
    """Share of the steps that cool down."""
    final: float = Field(default=0.0, ge=0, le=1)
    """Where the cooldown ends, as a share of the peak."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.warmup + self.decay > 1:
            raise ValueError(f"warmup and decay must be at most 1 together; got {self.warmup:g} and {self.decay:g}")
        return self

    def factor(self, step: int, *, steps: int, heldout: Sequence[tuple[int, float]] = ()) -> float:
        warmup, decay = self.warmup * steps, self.decay * steps
        if step < warmup:
            return _warmed(step, warmup)
        left = (steps - step) / decay if decay else 1.0
        return self.final + (1 - self.final) * min(1.0, left)


class InverseSqrt(Choice):
    """Linear warm-up, a plateau, then down as the root of the step.

    Without a plateau it is the Transformer's (Vaswani et al. 2017, arXiv:1706.03762), without a warm-up it is that of
    T5's pre-training (Raffel et al. 2020, arXiv:1910.10683).
    """

    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps that warm up."""
    stable: float = Field(default=0.0, ge=0, le=1)
    """Share of the steps that stay at the peak."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.warmup + self.stable > 1:
            raise ValueError(f"warmup and stable must be at most 1 together; got {self.warmup:g} and {self.stable:g}")
        return self

    def factor(self, step: int, *, steps: int, heldout: Sequence[tuple[int, float]] = ()) -> float:
        warmup = self.warmup * steps
        if step < warmup:
            return _warmed(step, warmup)
        start = max(1.0, warmup + self.stable * steps)
        return math.sqrt(start / max(step, start))


class Plateau(Choice):
    """Linear warm-up, then the peak, and less whenever the held-out loss stops falling.

    As ``torch.optim.lr_scheduler.ReduceLROnPlateau``. The loss is looked at when it is measured: ``evaluations`` of the
    training says how often. Where the best checkpoint is chosen by a figure, such as the accuracy of a task, that is
    looked at, with its sign turned where more is better.
    """

    warmup: float = Field(default=0.02, ge=0, lt=1)
    """Share of the steps that warm up."""
    shrink: float = Field(default=0.5, gt=0, lt=1)
    """What the rate is multiplied by, each time."""
    patience: int = Field(default=1, ge=0)
    """Measurements in a row without a gain that are borne; the next one makes the rate less."""
    gain: float = Field(default=1e-4, ge=0, lt=1)
    """What counts as a gain: a loss that is below the best so far by more than this share of it, of its size where it
    is negative."""
    final: float = Field(default=0.0, ge=0, le=1)
    """The rate goes no lower than this share of the peak."""

    def factor(self, step: int, *, steps: int, heldout: Sequence[tuple[int, float]] = ()) -> float:
        best, without_gain, share = math.inf, 0, 1.0
        for measured_at, loss in heldout:
            if measured_at > step:
                break
            if loss < best * (1 - math.copysign(self.gain, best)):
                best, without_gain = loss, 0
            else:
                without_gain += 1
            if without_gain > self.patience:
                share, without_gain = share * self.shrink, 0
        return _warmed(step, self.warmup * steps) * max(share, self.final)


def _warmed(step: int, warmup: float) -> float:
    """The straight way up to 1, which it is after ``warmup`` steps; above 0 from the first, which else were wasted."""
    return (step + 1) / (math.floor(warmup) + 1) if step < warmup else 1.0


def _done(step: int, warmup: float, steps: int) -> float:
    """The share of the steps behind the warm-up that are done."""
    return (step - warmup) / max(1.0, steps - warmup)

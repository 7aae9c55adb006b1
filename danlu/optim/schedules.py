"""Learning-rate schedules: pure functions of the step."""

from __future__ import annotations

import math

from pydantic import Field

from danlu.recipe import Choice


class WarmupStableDecay(Choice):
    """Linear warm-up, a plateau, a linear cooldown (Zhai et al. 2022; Hu et al. 2024, arXiv:2404.06395)."""

    warmup: float = Field(default=0.0, ge=0, lt=1)
    """Share of the steps that warm up."""
    decay: float = Field(default=0.6, ge=0, le=1)
    """Share of the steps that cool down."""
    final: float = Field(default=0.0, ge=0, le=1)
    """Where the cooldown ends, as a share of the peak."""

    def factor(self, step: int, *, steps: int) -> float:
        warmup, decay = self.warmup * steps, self.decay * steps
        if step < warmup:
            return (step + 1) / (math.floor(warmup) + 1)
        left = (steps - step) / decay if decay else 1.0
        return self.final + (1 - self.final) * min(1.0, left)


class Cosine(Choice):
    """Linear warm-up, then half a cosine down to ``final`` (Loshchilov & Hutter 2017, arXiv:1608.03983)."""

    warmup: float = Field(default=0.02, ge=0, lt=1)
    """Share of the steps that warm up."""
    final: float = Field(default=0.1, ge=0, le=1)
    """Where the cosine ends, as a share of the peak."""

    def factor(self, step: int, *, steps: int) -> float:
        warmup = self.warmup * steps
        if step < warmup:
            return (step + 1) / (math.floor(warmup) + 1)
        done = (step - warmup) / max(1.0, steps - warmup)
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * done))

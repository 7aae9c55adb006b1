"""How long to train: minutes, tokens, steps or epochs; always a fixed number of steps in the end."""

from __future__ import annotations

import math

import pydantic
from pydantic import Field

from danlu.recipe import Settings


class Budget(Settings):
    """At least one of these; whichever is reached first ends the training."""

    minutes: float | None = Field(default=None, gt=0)
    """Minutes on this machine, turned into steps by timing them; the number is final after 95 % of them."""
    tokens: int | None = Field(default=None, ge=1)
    """Tokens that are predicted."""
    steps: int | None = Field(default=None, ge=1)
    """Optimizer steps."""
    epochs: float | None = Field(default=None, gt=0)
    """Passes over the training part."""

    @pydantic.model_validator(mode="after")
    def _some(self) -> Budget:
        if all(value is None for value in (self.minutes, self.tokens, self.steps, self.epochs)):
            raise ValueError("needs one of minutes, tokens, steps, epochs")
        return self

    def steps_at_most(self, *, tokens_per_step: int, steps_per_epoch: float) -> int | None:
        """Steps that tokens, steps and epochs allow; None where only minutes are given."""
        limits = []
        if self.tokens is not None:
            limits.append(math.ceil(self.tokens / tokens_per_step))
        if self.steps is not None:
            limits.append(self.steps)
        if self.epochs is not None:
            # A hair less: 3 epochs of 7/3 steps are 7 steps, whatever floating point makes of 7/3.
            limits.append(max(1, math.ceil(self.epochs * steps_per_epoch - 1e-9)))
        return min(limits) if limits else None

    def steps_in(self, seconds_per_step: float, *, spent: float = 0.0) -> int | None:
        """Steps that fit into the minutes, ``spent`` seconds of them gone; None where no minutes are given."""
        if self.minutes is None:
            return None
        return max(1, int((self.minutes * 60 - spent) / seconds_per_step))

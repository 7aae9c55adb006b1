"""Steps that would spoil the weights are left out: NaN, infinity and spikes, told by robust statistics.

A spike is a loss, or a norm of the gradient, so many robust standard deviations above the median of the steps taken
lately, where 1.4826 times the median absolute deviation stands for one (Rousseeuw & Croux 1993), or the way up to the
ninth decile where that is longer; of the norm, of its logarithm. What was left out is never part of the statistics,
which a checkpoint holds.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import NormalDist, median, quantiles
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from danlu.errors import DanluError
from danlu.log import say
from danlu.parallel.joining import ALONE, Ranks
from danlu.recipe import Settings

LEAST = 20
"""Steps that must have been taken before one can be a spike."""
SIGMA = 1.4826
"""Of the median absolute deviation of a normal distribution, in standard deviations."""
NINTH_DECILE = NormalDist().inv_cdf(0.9)
"""Of a normal distribution, in standard deviations."""
LEAST_LOSS_SIGMA, LEAST_LOSS_SHARE, LEAST_NORM_SIGMA = 0.1, 0.03, 0.3
"""Deviations below these, of the loss in nats and as a share of its median and of the logarithm of the norm, are taken
for these. Numbers that hardly vary would else make spikes of nothing: of a text that is known by heart all but a line,
or of a warm-up, in which the norm rises to six times its median while all is well. Twelve of them are 1.2 nats and a
norm of 37 times the median."""


class Anomalies(Settings):
    """What is done about steps that would spoil the weights."""

    spike: float = Field(default=12.0, ge=0)
    """Robust standard deviations above the median from which on a step is left out; 0: only what is no number is."""
    window: int = Field(default=128, ge=LEAST)
    """Steps that the median is taken of."""
    patience: int = Field(default=5, ge=1)
    """So many left out in a row take the training back to the last checkpoint, and to the one before where that was in
    vain, with a lower learning rate."""
    rewinds: int = Field(default=3, ge=0)
    """How often that is done before the training ends."""
    lr_factor: float = Field(default=0.5, gt=0, lt=1)
    """What the learning rate is multiplied by each time."""


class DivergedError(Exception):
    """Too many steps in a row were left out, or weights are no numbers: back to the last checkpoint.

    Args:
        where: the ranks that alone have found so, in words; empty where all have.
    """

    def __init__(self, problem: str, where: str = "") -> None:
        super().__init__(problem)
        self.where = where


@dataclass
class Guard:
    """Says of each step whether it is taken."""

    settings: Anomalies
    losses: deque[float] = field(init=False)
    norms: deque[float] = field(init=False)
    """Logarithms."""
    in_a_row: int = 0

    def __post_init__(self) -> None:
        self.losses, self.norms = (deque(maxlen=self.settings.window) for _ in range(2))

    def __call__(self, step: int, loss: float, norm: float, where: str = "") -> bool:
        """Whether ``step``, counted from 0, is taken.

        Args:
            where: the ranks that alone have no numbers for the loss or the gradient, in words.

        Raises:
            DivergedError: it is one too many of those that are not.
        """
        why = self._objection(loss, norm)
        if why is None:
            if norm:  # a step without targets moves nothing and says nothing
                self.losses.append(loss)
                self.norms.append(math.log(norm))
                self.in_a_row = 0
            return True
        why += f", on {where} alone" if where else ""
        self.in_a_row += 1
        say(f"step {step + 1} is left out: {why}")
        if self.in_a_row >= self.settings.patience:
            problem = f"{self.in_a_row} steps in a row were left out, the last one, step {step + 1}: {why}"
            raise DivergedError(problem, where)
        return False

    def _objection(self, loss: float, norm: float) -> str | None:
        for what, value in (("loss", loss), ("norm of the gradient", norm)):
            if not math.isfinite(value):
                return f"its {what} is {value}"
        if not self.settings.spike or not norm or len(self.losses) < LEAST:
            return None
        least_loss = max(LEAST_LOSS_SIGMA, LEAST_LOSS_SHARE * abs(median(self.losses)))
        for what, value, shown, known, least in (
            ("loss", loss, loss, self.losses, least_loss),
            ("norm of the gradient", math.log(norm), norm, self.norms, LEAST_NORM_SIGMA),
        ):
            far = deviations(value, known, least=least)
            if far > self.settings.spike:
                return f"its {what}, {shown:.3g}, is {far:.0f} deviations above the median of the steps before"
        return None

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds; plain JSON."""
        return {"losses": list(self.losses), "norms": list(self.norms), "in_a_row": self.in_a_row}

    def load(self, state: dict[str, Any]) -> None:
        """Take over :meth:`state`."""
        self.__post_init__()
        self.losses.extend(state.get("losses", ()))
        self.norms.extend(state.get("norms", ()))
        self.in_a_row = state.get("in_a_row", 0)


def deviations(value: float, known: Iterable[float], *, least: float) -> float:
    """How many robust standard deviations, of at least ``least`` each, ``value`` is above the median of ``known``."""
    values = list(known)
    middle = median(values)
    upper = (quantiles(values, n=10, method="inclusive")[-1] - middle) / NINTH_DECILE
    sigma = SIGMA * median(abs(each - middle) for each in values)
    return (value - middle) / max(sigma, upper, least)


@torch.no_grad()
def check_finite(tensors: Iterable[Tensor], ranks: Ranks = ALONE, *, step: int) -> None:
    """Refuse weights or moments that one step has blown up: its loss was still right, the next one would not be.

    All ranks call it, each with its own, and all come to the same verdict.

    Raises:
        DivergedError: a number is infinite or none.
    """
    finite = ranks.all(all(bool(torch.isfinite(tensor).all()) for tensor in tensors))
    if not all(finite):
        where = ranks.alone_of([rank for rank, is_so in enumerate(finite) if not is_so])
        on = f", of those that {where} alone updates" if where else ""
        raise DivergedError(f"weights are no longer finite after step {step}{on}", where)


def given_up(diverged: DivergedError, *, rewinds: int, section: str) -> DanluError:
    """The end of a training that going back has not helped."""
    times = f"{rewinds} times" if rewinds > 1 else "once"
    tried = f", also after going back {times} with a lower learning rate each time" if rewinds else ""
    faulty = f", or have the memory and the device of {diverged.where} looked at" if diverged.where else ""
    return DanluError(
        f"the training has diverged{tried}: {diverged}; lower the learning rates in {section}.optimizer{faulty}; "
        "the last good checkpoint is kept"
    )

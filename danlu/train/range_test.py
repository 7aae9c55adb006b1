"""The learning-rate range test: rates that rise from step to step, and what the loss then does.

Smith 2017, arXiv:1506.01186, with the exponential rise and the end of fastai's ``lr_find``. All groups' peaks are
multiplied by one factor. Clipping is the recipe's own, since a rate that clipping tames does no harm in its run either;
a step that the guard would leave out is taken, for divergence is what is looked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median

import torch

from danlu.corpus.batches import Batch
from danlu.nn.transformer import Transformer
from danlu.objectives.protocol import Lesson
from danlu.optim.clipping import ClippingChoice
from danlu.train.guard import SIGMA
from danlu.train.loop import StepInfo, fit

LOWEST, HIGHEST = 1e-4, 1e2
"""What the recipe's rates are multiplied by in the first step and in the last."""
KEEP = 0.8
"""The share of the smoothed loss that goes on: it is a mean of some five steps, over which the rate doubles."""
DIVERGED = 4.0
"""The test ends where the smoothed loss is this many times its lowest."""
SAFETY = 10.0
"""The rate at the lowest loss is at the edge of what is stable; the rate to train with is so many times lower."""
CLEAR_SIGMAS, CLEAR_SHARE = 4.0, 0.01
"""A loss has fallen or risen when it did so by this many deviations of a step, and by this share of the first loss."""
FEWEST_POINTS = 12
"""Losses that a curve must have before anything is read from it."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Curve:
    """What was measured."""

    factors: list[float]
    losses: list[float]
    """Each is what the steps up to its factor have led to: it is measured before the next one."""
    diverged: bool
    """Whether the test ended before the highest factor: the loss exploded or is no number."""

    @property
    def smoothed(self) -> list[Point]:
        """Running means, corrected for their start, of the factor's logarithm and of the loss alike.

        A running mean of the loss alone would lag behind the rate by ``KEEP / (1 - KEEP)`` steps.
        """
        logs, losses = running_means([math.log(factor) for factor in self.factors]), running_means(self.losses)
        return [(math.exp(log), loss) for log, loss in zip(logs, losses, strict=True)]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What a curve says."""

    factor: float | None
    """What to multiply the rates by; None where the curve does not tell."""
    steepest: float | None
    """Where the loss falls fastest."""
    lowest: float | None
    """Where it is lowest, before it rises."""
    why: str
    """How the factor was found, or why there is none."""


def range_test(
    model: Transformer,
    batches: Callable[[int], Sequence[Batch]],
    lesson: Lesson,
    optimizer: torch.optim.Optimizer,
    *,
    steps: int,
    clip: ClippingChoice,
    after: Callable[[int, float], None],
) -> Curve:
    """Train for ``steps`` steps at most, the factor rising from ``LOWEST`` to ``HIGHEST``; the weights are spoilt.

    Args:
        after: called with the steps done and the loss.
    """
    curve: tuple[list[float], list[float]] = ([], [])
    ratio = math.log(HIGHEST / LOWEST) / max(1, steps - 1)

    def factor(step: int) -> float:
        return LOWEST * math.exp(ratio * step)

    def look(info: StepInfo) -> None:
        after(info.step, info.loss)
        if not math.isfinite(info.loss):
            raise _DivergedError
        if info.step > 1:  # the first loss is that of the first weights, whatever the rate
            curve[0].append(factor(info.step - 2))
            curve[1].append(info.loss)
            smooth = running_means(curve[1])
            if smooth[-1] > DIVERGED * min(smooth):
                raise _DivergedError

    try:
        fit(model, batches, lesson, optimizer, factor, steps=steps, clip=clip, hooks=[look])
    except _DivergedError:
        return Curve(*curve, diverged=True)
    return Curve(*curve, diverged=False)


class _DivergedError(Exception):
    """There is nothing more to see."""


def running_means(values: Sequence[float], keep: float = KEEP) -> list[float]:
    """Exponential running means, corrected for their start as Adam's are (Kingma & Ba 2015, arXiv:1412.6980)."""
    mean = weight = 0.0
    means = []
    for value in values:
        mean, weight = keep * mean + (1 - keep) * value, keep * weight + (1 - keep)
        means.append(mean / weight)
    return means


FARTHEST = 100.0
"""How far below the factor of the lowest loss the steepest fall is looked for, as a divisor."""


def suggest(curve: Curve) -> Suggestion:
    """The factor where the loss falls fastest, but at most a tenth of that where it is lowest."""
    points, losses = curve.smoothed, curve.losses
    if len(points) < FEWEST_POINTS:
        return Suggestion(
            None, None, None,
            "the loss diverges within the first steps: the rates are far too high, divide them by 1,000 and look again"
            if curve.diverged else f"the curve has {len(points)} points, too few to read",
        )  # fmt: skip
    first = fmean(losses[:3])
    place = min(range(len(points)), key=lambda number: points[number][1])
    lowest, best = points[place]
    # Of neighbours, so that a slow fall adds nothing; by the median, so that an explosion does not.
    sigma = SIGMA * median(abs(after - before) for before, after in pairwise(losses)) / math.sqrt(2)
    clear = max(CLEAR_SIGMAS * sigma, CLEAR_SHARE * abs(first))
    if first - best < clear:
        return Suggestion(
            None, None, None, f"no clear minimum: the loss never falls, by {first - best:.2g} from {first:.3g} at most"
        )
    # Farther below, a noisy loss may fall by chance as fast as it ever does.
    steepest = _steepest([point for point in points[: place + 1] if point[0] >= lowest / FARTHEST])
    if not curve.diverged and max(loss for _, loss in points[place:]) - best < clear:
        return Suggestion(
            None, steepest, None, f"no clear minimum: the loss does not rise again, up to {HIGHEST:g} times these rates"
        )
    if lowest / SAFETY <= curve.factors[0]:
        return Suggestion(
            None, steepest, lowest, "the loss rises almost from the start: divide the rates by 1,000 and look again"
        )
    bound = lowest / SAFETY
    why = "where the loss falls fastest" if steepest <= bound else f"1/{SAFETY:g} of that where the loss is lowest"
    return Suggestion(min(steepest, bound), steepest, lowest, why)


def _steepest(falling: Sequence[Point]) -> float:
    """The factor where the loss falls fastest by the factor's logarithm, of three points or more."""
    slopes = {
        falling[number][0]: (falling[number + 1][1] - falling[number - 1][1])
        / math.log(falling[number + 1][0] / falling[number - 1][0])
        for number in range(1, len(falling) - 1)
    }
    return min(slopes, key=lambda factor: slopes[factor]) if slopes else falling[0][0]

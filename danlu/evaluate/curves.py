"""The curves of a training run, from the lines of ``metrics.jsonl``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from danlu.pages.chart import COLOURS, Point, Series, line_chart

Metrics = Sequence[Mapping[str, Any]]

MOST_POINTS = 240
"""Points that a chart of this size can show; more make the file larger and nothing clearer."""
SMOOTHING_SHARE = 0.02
"""The smoothed loss averages over about this share of the steps."""
CUT_SHARE = 0.03
"""The loss of the first steps is far above the rest and says little: the axis ends where this share begins."""
LEAST_RANGE = 0.01
"""Of an axis of figures, which has room for three decimals."""


def loss_chart(
    metrics: Metrics, *, width: int, height: int, title: str = "Loss in nats per token", heldout_name: str = "held-out"
) -> str | None:
    """Training loss, as it was and smoothed, and the held-out loss on the way; None without metrics."""
    training, heldout = series_of(metrics, "loss"), series_of(metrics, "heldout_loss")
    if len(training) < 2:
        return None
    smooth = smoothed(training)
    return line_chart(
        [
            Series(decimated(training), "trace", "second"),
            Series(decimated(smooth), "line", "second", "training"),
            Series(heldout, "dots", "accent", heldout_name if heldout else ""),
        ],
        title=f"{title} by step",
        x_name="step",
        y_range=loss_range(training, smooth, heldout),
        width=width,
        height=height,
    )


def reward_chart(metrics: Metrics, *, width: int, height: int, title: str) -> str | None:
    """Mean reward of the answers of each step, as it was and smoothed, and that of dev; None where there are none."""
    training, dev = series_of(metrics, "reward"), series_of(metrics, "heldout.reward")
    if len(training) < 2:
        return None
    values = [value for _, value in [*training, *dev]]
    return line_chart(
        [
            Series(decimated(training), "trace", "second"),
            Series(decimated(smoothed(training)), "line", "second", "training"),
            Series(dev, "dots", "accent", "dev" if dev else ""),
        ],
        title=f"{title} by step",
        x_name="step",
        y_range=value_range(values),
        width=width,
        height=height,
    )


def rate_chart(
    metrics: Metrics, *, width: int, height: int, title: str = "Learning rate, as a share of its peak"
) -> str | None:
    """The schedule: the learning rate as a share of its peak; None without metrics."""
    rates = series_of(metrics, "lr")
    if len(rates) < 2:
        return None
    top = max(1.0, *(rate for _, rate in rates))
    return line_chart(
        [Series(decimated(rates), "line", "second")],
        title=f"{title}, by step",
        x_name="step",
        y_range=(0.0, top),
        width=width,
        height=height,
    )


def figure_chart(metrics: Metrics, name: str, *, width: int, height: int, title: str) -> str | None:
    """A figure that was measured now and then; None where it never was twice."""
    points = series_of(metrics, name)
    if len(points) < 2:
        return None
    return line_chart(
        [Series(points, "line", "accent", "dev"), Series(points, "dots", "accent")],
        title=f"{title} by step",
        x_name="step",
        y_range=value_range([value for _, value in points]),
        width=width,
        height=height,
    )


def overlay_chart(
    curves: Mapping[str, Sequence[Point]], *, width: int, height: int, title: str, dots: bool
) -> str | None:
    """The curves of several runs over one another, each with its name; None where none has two points."""
    shown = {name: points for name, points in curves.items() if len(points) > 1}
    if not shown:
        return None
    behind = [points[math.ceil(CUT_SHARE * (len(points) - 1)):] for points in shown.values()]  # fmt: skip
    values = [value for points in (shown.values() if dots else behind) for _, value in points]
    series = []
    for place, (name, points) in enumerate(shown.items()):
        colour = COLOURS[place % len(COLOURS)]
        series.append(Series(decimated(points), "line", colour, name if len(name) <= 10 else f"{name[:9]}…"))
        series += [Series(points, "dots", colour)] if dots else []
    return line_chart(
        series,
        title=f"{title} by step",
        x_name="step",
        y_range=value_range(values),
        width=width,
        height=height,
    )


def series_of(metrics: Metrics, name: str) -> list[Point]:
    """The points of the lines that have ``name``; a NaN was written as null and is left out."""
    return [(float(line["step"]), float(line[name])) for line in metrics if line.get(name) is not None]


def smoothed(points: Sequence[Point]) -> list[Point]:
    """Exponential moving average, corrected for its start as Adam's means are (Kingma & Ba 2015)."""
    keep = math.exp(-1 / max(1.0, SMOOTHING_SHARE * len(points)))
    mean, weight, out = 0.0, 0.0, []
    for x, y in points:
        mean = keep * mean + (1 - keep) * y
        weight = keep * weight + (1 - keep)
        out.append((x, mean / weight))
    return out


def decimated(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """At most ``2 * most + 2`` points that look like all: first, last, lowest and highest of each stretch."""
    if len(points) <= 2 * most:
        return list(points)
    kept = {0, len(points) - 1}
    for number in range(most):
        stretch = range(number * len(points) // most, (number + 1) * len(points) // most)
        kept |= {min(stretch, key=lambda place: points[place][1]), max(stretch, key=lambda place: points[place][1])}
    return [points[place] for place in sorted(kept)]


def value_range(values: Sequence[float]) -> tuple[float, float]:
    """From below the lowest to above the highest, and not below 0 where none is.

    Values that are nearly the same are not drawn apart: their axis would have more decimals than it has room for.
    """
    low, high = min(values), max(values)
    space = max(high - low, LEAST_RANGE) * 0.1
    if high - low < LEAST_RANGE:
        low, high = (low + high - LEAST_RANGE) / 2, (low + high + LEAST_RANGE) / 2
    return (max(0.0, low - space) if min(values) >= 0 else low - space), high + space


def loss_range(training: Sequence[Point], smooth: Sequence[Point], heldout: Sequence[Point]) -> tuple[float, float]:
    """From below the lowest value to the smoothed loss behind the first steps, or the highest held-out loss."""
    behind = smooth[min(len(smooth) - 1, math.ceil(CUT_SHARE * len(smooth)))][1]
    high = max([behind, smooth[-1][1], *(loss for _, loss in heldout)])
    low = min(loss for _, loss in [*training, *heldout])
    space = max(high - low, 1e-3) * 0.06
    return max(0.0, low - space), high + space

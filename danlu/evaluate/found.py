"""What ``danlu plan --find`` has found: on the terminal, as a picture, as figures in a file."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from danlu.errors import InputError
from danlu.files import atomic_write, make_folder, write_json, writing
from danlu.log import say
from danlu.pages.chart import Series, line_chart, standalone
from danlu.recipe import Recipe
from danlu.train import find as finder
from danlu.train import plan as planner
from danlu.train.range_test import HIGHEST, LOWEST, Curve

PICTURE, FIGURES = "learning_rate.svg", "found.json"
WIDTH, HEIGHT = 900, 420
COLUMNS, LINES = 61, 10
"""Of the plot on the terminal: ten columns for a factor of ten."""


def find_and_write(recipe: Recipe, out: Path | None) -> None:
    """Plan ``recipe``, look for better settings, say and write what was found.

    Raises:
        InputError: ``out`` is in the run's own folder.
        OutputError: it cannot be written.
    """
    folder = out if out is not None else recipe.run_dir.with_name(f"{recipe.run_dir.name}-find")
    if folder.resolve().is_relative_to(recipe.run_dir.resolve()):
        raise InputError(f"--out must be a folder outside that of the run, {recipe.run_dir}; got {folder}")
    for name in ("clean", "tokenizer", "pack", "pretrain"):
        recipe.section(name)
    with writing(folder):
        make_folder(folder)
    with planner.sampled(recipe) as sample:
        known = planner.measure(recipe, sample)
        say(planner.in_words(known))
        found = finder.find(recipe, sample, known)
    say(f"\n{text_plot(found.curve, found.suggestion.factor)}\n\n{finder.in_words(found)}")
    with writing(folder):
        atomic_write(folder / PICTURE, picture(found.curve, found.suggestion.factor).encode())
        write_json(folder / FIGURES, _finite({**asdict(found), "overrides": found.overrides}))
    say(f"picture      {folder / PICTURE}; the figures are in {FIGURES} beside it")


def picture(curve: Curve, factor: float | None) -> str:
    """The loss over the factor, an SVG that any browser shows; where ``factor`` is stands a dot."""
    raw = [(math.log10(x), y) for x, y in zip(curve.factors, curve.losses, strict=True)]
    smooth = [(math.log10(x), y) for x, y in curve.smoothed]
    dot = [] if factor is None else [(math.log10(factor), _loss_at(curve, factor))]
    first, last = round(math.log10(LOWEST)), round(math.log10(HIGHEST))
    chart = line_chart(
        [
            Series(raw, "trace", "second"),
            Series(smooth, "line", "second", "loss"),
            Series(dot, "dots", "accent", f"{factor:.2g} times" if factor is not None else ""),
        ],
        title="Loss by the factor of the learning rates",
        x_name="times the rates",
        y_range=_loss_range(curve),
        width=WIDTH,
        height=HEIGHT,
        x_labels={float(power): f"{10.0**power:g}" for power in range(first + 1, last + 1)},
    )
    return standalone(chart)


def text_plot(curve: Curve, factor: float | None) -> str:
    """The smoothed loss over the factor in characters; the column of ``factor`` is marked."""
    low, high = _loss_range(curve)
    rows = [[" "] * COLUMNS for _ in range(LINES)]
    if factor is not None:
        for row in rows:
            row[_column(factor)] = "|"
    for x, loss in curve.smoothed:
        line = round((high - loss) / (high - low) * (LINES - 1))
        if 0 <= line < LINES:
            rows[line][_column(x)] = "*"
    scale = [f"{high - (high - low) * number / (LINES - 1):8.3f}" for number in range(LINES)]
    drawn = [f"{label} {''.join(row).rstrip()}" for label, row in zip(scale, rows, strict=True)]
    decade = (COLUMNS - 1) // round(math.log10(HIGHEST / LOWEST))
    ticks = "".join(f"{LOWEST * 10**number:<{decade}g}" for number in range(COLUMNS // decade + 1))
    return "\n".join([*drawn, f"    loss {ticks.rstrip()} times the recipe's rates"])


def _column(factor: float) -> int:
    share = math.log(factor / LOWEST) / math.log(HIGHEST / LOWEST)
    return min(COLUMNS - 1, max(0, round(share * (COLUMNS - 1))))


def _loss_range(curve: Curve) -> tuple[float, float]:
    """From the lowest smoothed loss to a little above the first: what explodes behind it is cut off."""
    smooth = [loss for _, loss in curve.smoothed] or [0.0, 1.0]
    low = min(smooth)
    space = max(smooth[0] - low, 1e-3)
    return low - 0.05 * space, low + 1.3 * space


def _loss_at(curve: Curve, factor: float) -> float:
    return min(curve.smoothed, key=lambda point: abs(math.log(point[0] / factor)))[1]


def _finite(value: Any) -> Any:
    """The same with null for infinity, which JSON lacks."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

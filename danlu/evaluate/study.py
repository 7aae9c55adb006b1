"""What a study has found, for the report: its trainings, how their figures spread, and the learning curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from danlu.evaluate.contents import Section, Table
from danlu.files import read_json
from danlu.pages.chart import LEFT, RIGHT, Series, line_chart
from danlu.run_folder import RunFolder

FILE = "study.json"
LETTER = 7.0
"""Pixels that a letter takes, or a little less."""
SPACE = 0.06
"""Of the chart's height, above and below what is drawn."""


def study_section(run: RunFolder, *, pictures: Sequence[str]) -> Section | None:
    """A line a training, and mean and spread of each figure; None where no study is done."""
    found = _found(run)
    if found is None:
        return None
    spread: dict[str, Any] = found["spread"]
    curve = found.get("curve")
    if curve is None:
        table = _spread("figure", spread)
    else:  # which has a spread of every figure for each share
        name = f"{curve['split']}.{curve['criterion']}"
        table = _spread(f"{name} with", {f"{share} of train": each[name] for share, each in spread.items()})
    note = " ".join(f"{line}." for line in found["says"])
    return Section("Study", note=note, pictures=pictures, tables=[_trainings(found), table])


def curve_chart(run: RunFolder, *, width: int, height: int) -> str | None:
    """The learning curve, from the fewest examples to twice the most; None where there is none.

    Dots are trainings; the line is the fitted power law, the thin ones its 95 % interval.
    """
    found = _found(run)
    curve = found.get("curve") if found is not None else None
    if curve is None:
        return None
    band: list[dict[str, float]] = curve.get("band", [])
    dots = [(float(each["examples"]), each["figure"]) for each in curve["points"]]
    lines = {name: [(each["examples"], each[name]) for each in band] for name in ("expected", "low", "high")}
    ends = [lines[name][-1] for name in ("low", "high") if band]  # of the interval; at the fewest it may be far off
    shown = [y for points in (dots, lines["expected"], ends) for _, y in points]
    low, high = min(shown), max(shown)
    space = max(high - low, 1e-3) * SPACE
    sizes = sorted({each["examples"] for each in curve["points"]})
    return line_chart(
        [
            Series(lines["low"], "trace", "second"),
            Series(lines["high"], "trace", "second"),
            Series(lines["expected"], "line", "second", curve["criterion"] if band else ""),
            Series(sorted(dots), "dots", "accent", "" if band else curve["criterion"]),
        ],
        title=f"{curve['split']}.{curve['criterion']} by examples of train",
        x_name="examples",
        y_range=(low - space, high + space),
        width=width,
        height=height,
        x_labels=_labels([*sizes, *([2 * sizes[-1]] if band else [])], width - LEFT - RIGHT),
    )


def _labels(sizes: Sequence[int], pixels: int) -> dict[float, str]:
    """Of the sizes those that have room behind each other, behind the name of the axis."""
    found: dict[float, str] = {}
    end = LETTER * len("examples")
    for size in sizes:
        half = LETTER * len(f"{size:,}") / 2
        place = (size - sizes[0]) / max(1, sizes[-1] - sizes[0]) * pixels
        if place - half > end + LETTER:
            found[float(size)], end = f"{size:,}", place + half
    return found


def _found(run: RunFolder) -> dict[str, Any] | None:
    return read_json(run.stage("study") / FILE) if run.done("study") is not None else None


def _trainings(found: Mapping[str, Any]) -> Table:
    rows, criterion = found["variations"], found["criterion"]
    names = [name for name in rows[0]["figures"] if name.partition(".")[2] == criterion]
    head = ("training", "train", *names)
    cells = [
        (row["name"], f"{row['examples']['train']:,}", *(_cell(row["figures"].get(name)) for name in names))
        for row in rows
    ]
    return Table(head, cells, title="Trainings")


def _spread(what: str, spread: Mapping[str, Mapping[str, float]]) -> Table:
    head = (what, "mean", "standard deviation", "least", "greatest")
    rows = [(name, *(_cell(each[of]) for of in ("mean", "std", "least", "greatest"))) for name, each in spread.items()]
    return Table(head, rows, title="Mean and spread")


def _cell(value: float | None) -> str:
    return "—" if value is None else f"{value:.4f}"

"""The table of a comparison on the terminal: a line a figure, a column a run."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from danlu.evaluate.compare import Figure, Part
from danlu.evaluate.compare_page import chance, costs, difference
from danlu.evaluate.compared import Run
from danlu.evaluate.contents import figure, interval
from danlu.evaluate.predictions import spelled
from danlu.log import harmless, say, say_table

COLUMN = 24
"""Characters that a run's column takes where the output is no terminal, which has no width."""


def show(runs: Sequence[Run], parts: Sequence[Part]) -> None:
    """Print the table, and what is to be known of it."""
    table = Table(show_lines=True)
    table.add_column("")
    for run in runs:
        table.add_column(harmless(run.name), justify="right", overflow="fold")
    for part in parts:
        for each in part.figures:
            if not each.name.startswith("label."):
                table.add_row(f"{part.name}: {spelled(each.name)}", *_cells(each))
    for name, cells in costs(runs):
        table.add_row(name, *cells)
    say_table(table, least=36 + COLUMN * len(runs))
    for line in notes(parts):
        say(harmless(line))


def notes(parts: Sequence[Part]) -> list[str]:
    """What the table's numbers are, and which runs are not tested against the first."""
    found = []
    tested = [sum(any(each.differences[place] is not None for each in part.figures) for place in range(len(part.names)))
              for part in parts]  # fmt: skip
    if any(tested):
        bases = {part.base for part in parts}
        first = bases.pop() if len(bases) == 1 else "the first run that has the figure"
        text = f"± is the difference from {first}, with the p-value of approximate randomisation"
        if max(tested) > 1:
            text += f", corrected for {max(tested)} runs (Holm)"
        found.append(f"{text}; below a figure is its 95 % interval.")
    for part in parts:
        found += [f"{part.name}: {name} is not tested against {part.base}: {why}" for name, why in part.reasons.items()]
    return found


def _cells(each: Figure) -> list[str]:
    cells = []
    for value, bounds, apart, p in zip(each.values, each.intervals, each.differences, each.p, strict=True):
        lines = ["—" if value is None else figure(value)]
        lines += [interval(bounds)] if bounds is not None else []
        if apart is not None and p is not None:
            lines.append(f"{difference(apart.difference)}, {chance(p)}")
        cells.append("\n".join(lines))
    return cells

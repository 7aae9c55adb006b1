"""The results of a study as lines for a terminal and as one HTML page."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from rich.cells import cell_len

from danlu.errors import OutputError
from danlu.files import atomic_write, writing
from danlu.log import harmless
from danlu.pages import colours
from danlu.pages.rendering import environment
from danlu.rate.results import Results
from danlu.rate.table import Table

WIDTH = 104
"""Pixels of a drawn interval."""


def lines(results: Results) -> list[str]:
    """The tables and what to keep in mind, for a terminal."""
    shown = [results.summary]
    for table in results.tables:
        shown += ["", table.title, *_aligned(table)]
    if results.cautions:
        shown += ["", "To keep in mind", *(f"- {caution}" for caution in results.cautions)]
    return [harmless(line) for line in shown]


def write_page(results: Results, path: Path, *, title: str) -> None:
    """Write the results as a page that needs no other file.

    Raises:
        OutputError: it cannot be written.
    """
    if not path.parent.is_dir():
        raise OutputError(f"cannot write to {path}: there is no folder {str(path.parent)!r}")
    now = datetime.now(UTC)
    templates = environment("danlu.rate")
    templates.filters["safe_text"] = harmless
    templates.globals["place"] = _place
    page = templates.get_template("results.html.j2").render(
        title=title,
        date=f"{now.day} {now:%B %Y}",
        results=results,
        width=WIDTH,
        page_style=colours.variables(),
    )
    with writing(path.parent):
        atomic_write(path, page.encode())


def _aligned(table: Table) -> list[str]:
    """Columns below each other, also where characters are two cells wide."""
    rows = [[" ".join(cell.split()) for cell in row] for row in (table.head, *table.rows)]
    widths = [max(cell_len(row[column]) for row in rows) for column in range(len(table.head))]
    found = []
    for row in rows:
        cells = []
        for column, (cell, width) in enumerate(zip(row, widths, strict=True)):
            space = " " * (width - cell_len(cell))
            cells.append(cell + space if column < table.texts else space + cell)
        found.append("  " + "  ".join(cells).rstrip())
    return found


def _place(table: Table, value: float) -> float:
    """Where a value lies on the drawing, in pixels."""
    low, high = table.range
    return round(min(max((value - low) / (high - low), 0.0), 1.0) * (WIDTH - 8) + 4, 1)

"""``danlu compare``: finished runs beside one another. Imports stand inside: ``danlu --help`` answers at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from danlu.log import say


def compare(
    *runs: Annotated[
        Path, Parameter(name="RUN", help="Run folders, the first of which the others are compared with; or .jsonl.")
    ],
    out: Path = Path("compare.html"),
) -> None:
    """Compare runs: figures with intervals, whether they differ, cost, size, curves, settings, examples.

    A .jsonl is the predictions of another tool on the examples of a run: a line each with texts, gold, prediction.

    Parameters
    ----------
    out
        The page to write, .html; one that is there is replaced.
    """
    from danlu.errors import OutputError
    from danlu.evaluate.compare import compare_runs
    from danlu.evaluate.compare_page import write_page
    from danlu.evaluate.compare_table import show
    from danlu.evaluate.compared import read_runs

    if out.suffix.lower() != ".html" or not out.parent.is_dir():
        raise OutputError(f"--out must be an .html in a folder that is there; got {out}")
    read = read_runs(runs)
    parts = compare_runs(read)
    write_page(read, parts, out)
    show(read, parts)
    say(f"page: {out}")

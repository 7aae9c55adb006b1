"""``danlu rate``: the page for raters, and the report. Imports stand inside: ``danlu --help`` answers at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from danlu.log import say

rate = App(name="rate", sort_key=(4, 3))


Database = Annotated[Path, Parameter(name="DATABASE", help="What danlu rate has written, such as ratings.db.")]


@rate.default
def serve(
    *answers: Annotated[Path, Parameter(name="ANSWERS", help="Files of answers, .jsonl, one a model.")],
    out: Path,
    rubric: Path | None = None,
    raters: int | None = None,
    seed: int | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
) -> None:
    """Open a page where people compare two models' answers to the same prompts blind, or score answers.

    Two files or more are compared in pairs; one file, or any with --rubric, is scored. Every rating is kept at once;
    the same command goes on where it was stopped, and so does "danlu rate --out ratings.db" alone.
    "danlu rate report ratings.db" tells what has come out.

    Parameters
    ----------
    out
        The database of the ratings, an SQLite file such as ratings.db.
    rubric
        What answers are scored by: a YAML file with criteria, each with a name, a question and a scale.
    raters
        How many people rate each item; 3 by default.
    seed
        Decides which answer stands on which side, and the order; 1 by default.
    host
        The address to listen at; 0.0.0.0 lets everybody on the network in.
    port
        The port; 0 takes a free one.
    """
    from danlu.address import Address
    from danlu.rate.opening import open_study
    from danlu.rate.running import run

    Address(host, port).check()
    run(open_study(answers, out, rubric=rubric, raters=raters, seed=seed), host=host, port=port)


@rate.command
def report(database: Database, /, *, out: Path | None = None) -> None:
    """Tell what the ratings say, with intervals and how far raters agree, and write it as a page.

    Parameters
    ----------
    out
        The page to write; by default beside the database, with the ending .html.
    """
    from danlu.rate.report import lines, write_page
    from danlu.rate.results import results
    from danlu.rate.store import open_store

    found = results(open_store(database))
    page = out or database.with_suffix(".html")
    write_page(found, page, title=database.stem)
    for line in lines(found):
        say(line)
    say(f"\nreport: {page}")

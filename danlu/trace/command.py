"""``danlu trace``. Imports stand inside, so that ``danlu --help`` answers at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from danlu.errors import InputError
from danlu.log import say

if TYPE_CHECKING:
    from danlu.recipe import Recipe
    from danlu.run_folder import RunFolder


def trace(
    recipe_or_run: Annotated[
        Path, Parameter(name="RECIPE_OR_RUN", help="The recipe, a YAML file; or the folder of its run, runs/NAME.")
    ],
    document_id: Annotated[str | None, Parameter(name="DOCUMENT_ID", help="Such as 'books/a.txt#0'.")] = None,
    /,
    *,
    row: int | None = None,
    step: int | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Lead a document, or a row or a step of the pretraining, back to the file and the byte that it comes from.

    Tells where it stands in the packed store and in the shards of clean, or which rule dropped it and what it repeats,
    and shows its text and the bytes of the source, if they are still there, and whether the source has changed since.

    Parameters
    ----------
    row
        A row of the training, by its number from 0: all documents in it are led back.
    step
        A step of the training, from 1 as metrics.jsonl counts: its rows, and what they have of which documents.
    json
        One JSON object, for machines.
    """
    from danlu.trace import words
    from danlu.trace.training import Order
    from danlu.trace.walk import of_document, of_row, of_step

    if sum(each is not None for each in (document_id, row, step)) != 1:
        raise InputError("danlu trace leads back one thing: a DOCUMENT_ID, --row N or --step N")
    folder = _folder(recipe_or_run)
    told: dict[str, Any]
    if document_id is not None:
        told = of_document(folder, document_id)
        lines = words.document(told)
    elif row is not None:
        told = of_row(folder, Order(_recipe(recipe_or_run), folder), row)
        lines = words.row(told)
    else:
        assert step is not None
        told = of_step(folder, Order(_recipe(recipe_or_run), folder), step)
        lines = words.step(told)
    if json:
        from json import dumps

        say(dumps(told, indent=2))
        return
    for line in lines:
        say(line)


def _folder(recipe_or_run: Path) -> RunFolder:
    """The folder of the run.

    Raises:
        RecipeError: there is no such recipe.
        InputError: it is a folder, and none of a run.
    """
    from danlu.run_folder import RunFolder

    if not recipe_or_run.is_dir():
        return RunFolder(_recipe(recipe_or_run).run_dir)
    if not (recipe_or_run / "recipe.yaml").is_file():
        raise InputError(f"{recipe_or_run} is no folder of a run: it has no recipe.yaml")
    return RunFolder(recipe_or_run)


def _recipe(recipe_or_run: Path) -> Recipe:
    """The recipe itself, or that of the run.

    Raises:
        RecipeError: it is not there, or not right.
    """
    from danlu.recipe import load_recipe

    return load_recipe(recipe_or_run / "recipe.yaml" if recipe_or_run.is_dir() else recipe_or_run)

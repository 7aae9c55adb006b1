"""Stages on many processes: rank 0 runs them as one process would, and the others join those that train.

Only rank 0 has the run folder's lock, writes there and speaks. Others wait for what it begins next.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable

from danlu.errors import RecipeError
from danlu.parallel.joining import Ranks, joined
from danlu.parallel.watch import Watch
from danlu.parallel.world import World
from danlu.recipe import Recipe
from danlu.runs import Changed, Job, RunFolder, Stage, run_stages
from danlu.train.settings import TrainSettings


def run_on_ranks(
    world: World,
    recipe: Recipe,
    stages: Iterable[str],
    say: Callable[[str], None],
    *,
    begin: Callable[[str], None],
    changed: Changed = "refuse",
    watch: Watch,
) -> RunFolder:
    """As :func:`danlu.runs.run_stages`, called by every rank of ``world``.

    Raises:
        RecipeError: the ranks do not have the same recipe.
    """
    folder = RunFolder(recipe.run_dir)
    with joined(world, watch) as team:
        _check_recipe(team, recipe)
        if not team.first:
            _follow(team, recipe, folder)
            return folder

        def tell(stage: str) -> None:
            begin(stage)
            team.told(stage)

        run_stages(recipe, stages, say, begin=tell, changed=changed)
        team.told("")
    return folder


def _follow(team: Ranks, recipe: Recipe, folder: RunFolder) -> None:
    """Train with rank 0 whenever it trains, and write and say nothing."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):  # noqa: PTH123
        while name := team.told(""):
            stage = recipe.section(name)
            if isinstance(stage, TrainSettings) and isinstance(stage, Stage):
                stage.run(Job(recipe, {need: folder.stage(need) for need in stage.needs}, folder.stage(name)))


def _check_recipe(team: Ranks, recipe: Recipe) -> None:
    first, *others = team.all(recipe.to_yaml())
    for rank, other in enumerate(others, 1):
        if other != first:
            raise RecipeError(f"rank {rank} has another recipe than rank 0: all need the same one")

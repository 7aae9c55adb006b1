"""Stages on many processes: rank 0 runs them as one process would, and the others join those that train.

Only rank 0 has the run folder's lock, writes there and speaks. Others wait for what it begins next.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import yaml

import danlu
from danlu.differences import changes, listed
from danlu.errors import InputError, RecipeError
from danlu.files import writing
from danlu.parallel.absence import excused
from danlu.parallel.joining import Ranks, joined
from danlu.parallel.patience import Watch
from danlu.parallel.world import World
from danlu.recipe import Recipe
from danlu.run_folder import Changed, RunFolder
from danlu.runs import run_stages
from danlu.stage import Job, stage_of
from danlu.train.settings import TrainSettings

SECONDS_TO_APPEAR = 10.0
"""How long a file that one machine writes may take to be seen by another."""


def run_on_ranks(
    world: World | None,
    recipe: Recipe,
    stages: Iterable[str],
    say: Callable[[str], None],
    *,
    begin: Callable[[str], None],
    changed: Changed = "refuse",
) -> RunFolder:
    """As :func:`danlu.runs.run_stages`, called by every rank of ``world``; None is one process alone.

    Raises:
        RecipeError: the mesh does not fit the number of ranks, or they do not have the same recipe.
        InputError: they do not see the same run folder, or have other versions of danlu or torch.
    """
    folder = RunFolder(recipe.run_dir)
    trainings = [section for section in recipe.sections.values() if isinstance(section, TrainSettings)]
    if world is not None:
        with excused(os.environ):
            for each in trainings:  # what does not fit is told before anything begins
                each.hardware.mesh.place(rank=world.rank, size=world.size, section=each.section)
    watch = trainings[0].hardware.mesh.watch if trainings else Watch()
    with joined(world, watch) as team:
        _check_versions(team)
        _check_recipe(team, recipe)
        _check_disk(team, recipe.run_dir)
        if not team.first:
            _follow(team, recipe, folder)
            return folder

        def tell(stage: str) -> None:
            begin(stage)
            team.elsewhere(is_so=False)
            team.told(stage)
            team.elsewhere(is_so=not stage_of(recipe, stage).together)

        run_stages(recipe, stages, say, begin=tell, changed=changed)
        team.told("")
    return folder


def _follow(team: Ranks, recipe: Recipe, folder: RunFolder) -> None:
    """Train with rank 0 whenever it trains, and write and say nothing."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):  # noqa: PTH123
        while name := team.told(""):
            stage = stage_of(recipe, name)
            if stage.together:
                stage.run(Job(recipe, {need: folder.stage(need) for need in stage.needed()}, folder.stage(name)))


def _check_versions(team: Ranks) -> None:
    """Others could read the same recipe in another way, or round in another."""
    first, *others = team.all({"danlu": danlu.__version__, "torch": str(torch.__version__)})
    for rank, other in enumerate(others, 1):
        for name, version in first.items():
            if other[name] != version:
                raise InputError(f"rank {rank} has {name} {other[name]}, rank 0 {version}: all ranks need the same one")


def _check_recipe(team: Ranks, recipe: Recipe) -> None:
    first, *others = team.all(recipe.to_yaml())
    for rank, other in enumerate(others, 1):
        if other != first:
            found = changes("", *(yaml.safe_load(each) for each in (first, other)))
            told = listed([f"{key} is {_shown(its)}, on rank 0 {_shown(ours)}" for key, ours, its in found])
            raise RecipeError(f"rank {rank} has another recipe than rank 0: all need the same one; {told}")


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _check_disk(team: Ranks, folder: Path) -> None:
    """Have rank 0 leave a mark where the run folder is or will be, which the others must find."""
    if team.watch is None:
        return
    mark = None
    if team.first:
        place = next(path for path in (folder, *folder.parents) if path.is_dir())
        mark = place / f".seen-by-all-{secrets.token_hex(8)}"
        with writing(place):
            mark.touch()
    mark = team.told(mark)
    assert mark is not None
    seen = team.all(team.first or _appears(mark))
    if team.first:
        mark.unlink(missing_ok=True)
    if not all(seen):
        blind, first = team.watch.names[seen.index(False)], team.watch.names[0]
        raise InputError(f"{blind} does not see {folder} of {first}: run_dir must lie on a disk that all ranks share")


def _appears(path: Path) -> bool:
    until = time.monotonic() + SECONDS_TO_APPEAR
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.1)
    return path.exists()

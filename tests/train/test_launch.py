"""Rank 0 runs the stages; the others train with it and are silent."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import ranks

from danlu.files import read_json
from danlu.parallel.joining import here
from danlu.parallel.world import read_world
from danlu.recipe import load_recipe
from danlu.runs import Job
from danlu.train import launch as launching
from danlu.train.launch import run_on_ranks
from danlu.train.pretrain import Pretrain


def count(self: Pretrain, job: Job) -> dict[str, Any]:
    print(f"rank {here().rank} trains")
    return here().sum({"ranks": 1})


def launch(folder: str, *overrides: str) -> str:
    """What the rank says."""
    Pretrain.run = count  # type: ignore[method-assign]
    world = read_world(os.environ)
    assert world is not None
    recipe = load_recipe(
        Path(folder) / "recipe.yaml", [f"run_dir={folder}/run", *overrides, f"seed={1 + world.rank * SEEDS}"]
    )
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        run_on_ranks(world, recipe, ["pack", "pretrain"], print, begin=lambda name: print(f"{name}: begins"))
    assert here().size == 1
    return out.getvalue()


SEEDS = 0


def other_seeds(folder: str) -> str:
    global SEEDS  # noqa: PLW0603
    SEEDS = 1
    return launch(folder)


def test_rank_0_runs_stages_and_the_others_train_with_it(packed: Path, tmp_path: Path) -> None:
    shutil.copytree(packed / "run", tmp_path / "run")
    shutil.copy(packed / "recipe.yaml", tmp_path)
    first, *others = ranks.run(launch, 3, str(tmp_path))
    assert first.splitlines()[:3] == ["pack: unchanged, skipped", "pretrain: begins", "rank 0 trains"]
    assert others == ["", ""]
    done = read_json(tmp_path / "run" / "pretrain" / "done.json")
    assert done is not None
    assert done["figures"] == {"ranks": 3}
    assert ranks.run(launch, 2, str(tmp_path)) == ["pack: unchanged, skipped\npretrain: unchanged, skipped\n", ""]


def in_own_folder(folder: str) -> None:
    """Each rank has another folder before it, as where machines share no disk."""
    launching.SECONDS_TO_APPEAR = 0.3
    here = Path(folder) / os.environ["RANK"]
    here.mkdir()
    os.chdir(here)
    world = read_world(os.environ)
    recipe = load_recipe(Path(folder) / "recipe.yaml", ["run_dir=run"])
    run_on_ranks(world, recipe, ["pack", "pretrain"], print, begin=print)


def test_ranks_that_share_no_disk_are_refused_and_leave_nothing(packed: Path, tmp_path: Path) -> None:
    shutil.copy(packed / "recipe.yaml", tmp_path)
    problem = (
        r"rank 1 \(host .*\) does not see run of rank 0 \(host .*\): run_dir must lie on a disk that all ranks share"
    )
    with pytest.raises(RuntimeError, match=problem):
        ranks.run(in_own_folder, 2, str(tmp_path))
    assert [*(tmp_path / "0").iterdir(), *(tmp_path / "1").iterdir()] == []


def test_ranks_with_other_recipes_are_refused(packed: Path) -> None:
    with pytest.raises(RuntimeError, match="rank 1 has another recipe than rank 0: all need the same one"):
        ranks.run(other_seeds, 2, str(packed))

"""Rank 0 runs the stages; the others train with it and are silent."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ranks

from danlu.errors import InputError
from danlu.files import read_json
from danlu.log import read_metrics
from danlu.parallel.joining import here
from danlu.parallel.world import read_world
from danlu.recipe import load_recipe
from danlu.stage import Job
from danlu.train import launch as launching
from danlu.train.launch import run_on_ranks
from danlu.train.pretrain import Pretrain

ROOT = Path(__file__).parent.parent.parent


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


def refused(folder: str) -> None:
    """Rank 0 refuses a stage in which the other waits for it."""

    def refuse(self: Pretrain, job: Job) -> dict[str, Any]:
        if here().first:
            raise InputError("it cannot be read")
        return here().from_first({})

    Pretrain.run = refuse  # type: ignore[method-assign]
    recipe = load_recipe(Path(folder) / "recipe.yaml", [f"run_dir={folder}/run"])
    run_on_ranks(read_world(os.environ), recipe, ["pretrain"], print, begin=print)


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


def test_a_stage_that_rank_0_refuses_leaves_no_trace(packed: Path, tmp_path: Path) -> None:
    shutil.copytree(packed / "run", tmp_path / "run")
    shutil.copy(packed / "recipe.yaml", tmp_path)
    with pytest.raises(RuntimeError, match="it cannot be read"):
        ranks.run(refused, 2, str(tmp_path))
    assert not (tmp_path / "run/pretrain").exists() and (tmp_path / "run/pack/done.json").exists()


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


def of_srun(rank: int, size: int) -> dict[str, str]:
    """What srun sets; nothing for one process that somebody starts by hand."""
    known = {
        "SLURM_STEP_ID": 0, "SLURM_PROCID": rank, "SLURM_NTASKS": size, "SLURM_LOCALID": rank,
        "SLURM_JOB_ID": os.getpid(), "SLURM_JOB_NODELIST": "localhost",
    }  # fmt: skip
    return {name: str(value) for name, value in known.items()} if size > 1 else {}


@pytest.mark.cluster
def test_srun_s_environment_is_enough(packed: Path, tmp_path: Path) -> None:
    """The command line by itself, and twice with what Slurm's manual says that srun sets for two tasks."""
    losses = []
    for size in (1, 2):
        folder = tmp_path / str(size)
        shutil.copytree(packed / "run", folder / "run")
        command = [
            sys.executable, "-m", "danlu", "pretrain", str(packed / "recipe.yaml"), f"run_dir={folder}/run",
            "pretrain.optimizer=adamw", "pretrain.hardware.micro_batch=1", "pretrain.budget.steps=20",
        ]  # fmt: skip
        started = [
            subprocess.Popen(
                command, env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **of_srun(rank, size)},
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for rank in range(size)
        ]  # fmt: skip
        said = [process.communicate(timeout=120) for process in started]
        assert [process.returncode for process in started] == [0] * size, said
        losses.append([line["loss"] for line in read_metrics(folder / "run" / "pretrain")])
    assert "; 2 processes: data 2" in said[0][0]
    assert said[1] == ("", "")
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-6)


def child(of: int, rank: int) -> int:
    """The process that torchrun has started for this rank."""
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == of and f"\0RANK={rank}\0".encode() in (path / "environ").read_bytes():
                return int(path.name)
    raise AssertionError(f"no process of rank {rank}")


@pytest.mark.cluster
def test_torchrun_may_start_all_again(packed: Path, tmp_path: Path) -> None:
    """What stands in the store that torchrun keeps is of those who were there before, their verdict too."""
    shutil.copytree(packed / "run", tmp_path / "run")
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "1",
        "--master-port", str(ranks.free_port()), "-m", "danlu", "pretrain", str(packed / "recipe.yaml"),
        f"run_dir={tmp_path}/run", "pretrain.optimizer=adamw", "pretrain.budget.steps=600",
        "pretrain.hardware.mesh.watch={silent: 3, stuck: 60}",
    ]  # fmt: skip
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        until = time.monotonic() + 120
        while not list((tmp_path / "run" / "pretrain").glob("checkpoints/step-*")) and time.monotonic() < until:
            assert started.poll() is None, started.communicate()
            time.sleep(0.05)
        first, second = (child(started.pid, rank) for rank in range(2))
        os.kill(second, signal.SIGSTOP)  # so that there is a verdict, which torchrun does not wait for where one dies
        while (Path("/proc") / str(first)).exists() and time.monotonic() < until:
            time.sleep(0.05)
        os.kill(second, signal.SIGCONT)
        out, err = started.communicate(timeout=120)
    assert started.returncode == 0, out + err
    assert out.count("going on after step ") == 1
    assert "; all ranks stop, run the same command to go on" in err
    assert [line["step"] for line in read_metrics(tmp_path / "run" / "pretrain")] == list(range(1, 601))

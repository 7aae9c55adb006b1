"""One of two processes that train together hangs or is stopped, wherever it is: it is named, and all end."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import ranks
import torch
from launching import (
    COMMON,
    exit_codes,
    launch,
    launch_fetching,
    launch_hanging_in,
    launch_until_ctrl_c,
    launch_with_another_torch,
    mesh_override,
    said,
    steps,
)
from slow_launching import launch_compiling, launch_slow

from danlu.parallel.verdict import LOST

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).parent.parent.parent
QUICK = "pretrain.hardware.mesh.watch={silent: 3, stuck: 3}"
SHORT = ("pretrain.budget.steps=10",)


@pytest.fixture
def folder(packed: Path, tmp_path: Path) -> Path:
    shutil.copytree(packed / "run", tmp_path / "run")
    shutil.copy(packed / "recipe.yaml", tmp_path)
    return tmp_path


IDLE = "it has done nothing for "
WAITED = "the others have waited for it for "
LOCK = "it has a lock of the compiler's that others wait for, for "
CALL = "it has not begun a call in which others wait for it, for "


@pytest.mark.parametrize(
    ("place", "how", "victim", "line", "saved"),
    [
        ("the first call", "sleeps", 1, CALL, []),
        ("the first call", "sleeps", 0, CALL, []),
        ("a later call", "sleeps", 1, CALL, ["step-00000005"]),
        ("a later call", "turns", 1, CALL, ["step-00000005"]),
        ("building the model", "turns", 1, WAITED, []),
        ("reading the tokens", "turns", 1, WAITED, []),
        ("the start", "turns", 0, IDLE, []),
        ("the start", "turns", 1, IDLE, []),
        ("between stages", "sleeps", 0, IDLE, []),
        ("between stages", "turns", 0, IDLE, []),
        ("after training", "turns", 0, IDLE, ["step-00000005", "step-00000010"]),
        ("drawing the weights", "sleeps", 0, f"({IDLE}|{WAITED})", []),
        ("drawing the weights", "turns", 0, WAITED, []),
        ("the first step", "sleeps", 1, f"({IDLE}|{WAITED})", []),
        ("the first step", "sleeps", 0, f"({IDLE}|{WAITED})", []),
        ("the first step", "turns", 1, WAITED, []),
        ("a measurement", "turns", 0, WAITED, []),
        ("a save", "sleeps", 1, IDLE, []),
        ("a save", "turns", 1, IDLE, []),
        ("writing", "sleeps", 0, IDLE, []),
        ("writing", "turns", 0, IDLE, []),
        ("the end", "sleeps", 1, IDLE, ["step-00000005", "step-00000010"]),
        ("the end", "sleeps", 0, IDLE, ["step-00000005", "step-00000010"]),
    ],
)
def test_a_rank_that_hangs_is_named_wherever_it_is(
    place: str, how: str, victim: int, line: str, saved: list[str], folder: Path
) -> None:
    known = (place, victim, how, str(folder), QUICK, *SHORT)
    assert exit_codes(launch_hanging_in, 2, *known, seconds=30) == [LOST, LOST]
    [told] = said(folder)
    assert told.startswith(f"danlu: error: rank {victim} (host ")
    assert re.search(f" hangs( as it [a-z ]+)?: {line}", told), told
    assert steps(folder) == saved
    assert exit_codes(launch, 1, str(folder), *SHORT) == [0]


@pytest.mark.parametrize(
    ("size", "mesh", "victim", "how"),
    [
        (2, {"shard": 2}, 1, "turns"),
        (2, {"shard": 2}, 0, "sleeps"),
        (2, {"tensor": 2}, 1, "turns"),
        (2, {"tensor": 2}, 0, "turns"),
        (4, {"shard": 2}, 1, "turns"),
    ],
    ids=str,
)
def test_who_hangs_in_the_first_step_is_told_from_who_waits_for_it_within_the_model(
    size: int, mesh: dict[str, int], victim: int, how: str, folder: Path
) -> None:
    """Of four, two wait where all meet and one within the model."""
    known = ("the first step", victim, how, str(folder), QUICK, *SHORT, *mesh_override(mesh))
    assert exit_codes(launch_hanging_in, size, *known, seconds=40) == [LOST] * size
    [told] = [line for rank in range(size) for line in (folder / f"err-{rank}").read_text().splitlines()]
    assert told.startswith(f"danlu: error: rank {victim} (host "), told
    assert re.search(f" hangs: ({CALL}|{WAITED}|{IDLE})", told), told


@pytest.mark.parametrize(
    ("how", "victim", "line"),
    [("sleeps", 1, IDLE), ("sleeps", 0, IDLE), ("turns", 1, IDLE), ("holds", 1, LOCK), ("holds", 0, LOCK)],
)
def test_who_hangs_in_the_compiler_is_named(how: str, victim: int, line: str, folder: Path) -> None:
    assert exit_codes(launch_compiling, 2, victim, how, str(folder), QUICK, *SHORT, seconds=40) == [LOST, LOST]
    [told] = said(folder)
    assert told.startswith(f"danlu: error: rank {victim} (host "), told
    assert re.search(f" hangs: {line}", told), told


def test_a_lock_of_the_compiler_that_another_training_has_is_waited_for(folder: Path) -> None:
    (folder / "cache" / "locks").mkdir(parents=True)
    with (folder / "cache" / "locks" / "a.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        timer = threading.Timer(15, fcntl.flock, (file, fcntl.LOCK_UN))
        timer.start()
        assert exit_codes(launch_compiling, 2, 1, "waits", str(folder), QUICK, *SHORT, seconds=40) == [0, 0]
        timer.join()
    assert said(folder) == []


@pytest.mark.parametrize(
    ("size", "place", "mesh"),
    [
        (2, "drawing the weights", {}),
        (2, "between stages", {}),
        (2, "the first step", {"shard": 2}),
        (2, "the first step", {"tensor": 2}),
        (4, "the first step", {"shard": 2}),
    ],
    ids=str,
)
def test_who_is_slow_and_comes_on_is_waited_for(size: int, place: str, mesh: dict[str, int], folder: Path) -> None:
    known = (place, str(folder), QUICK, *SHORT, *mesh_override(mesh))
    assert exit_codes(launch_slow, size, *known, seconds=60) == [0] * size
    assert [(folder / f"err-{rank}").read_text() for rank in range(size)] == [""] * size


@pytest.mark.parametrize(
    ("place", "how", "line"),
    [("writing", "sleeps", f"saves: {IDLE}"), ("building the model", "turns", f"builds the model: {WAITED}")],
)
def test_where_it_hangs_is_told(place: str, how: str, line: str, folder: Path) -> None:
    assert exit_codes(launch_hanging_in, 2, place, 0, how, str(folder), QUICK, *SHORT, seconds=30) == [LOST] * 2
    [told] = said(folder)
    assert f" hangs as it {line}" in told


@pytest.mark.parametrize(("comes", "codes"), [(True, [0, 0]), (False, [LOST, LOST])])
def test_a_rank_that_fetches_is_waited_for_as_long_as_something_comes(
    comes: bool, codes: list[int], folder: Path
) -> None:
    """Amid settled steps: each piece takes longer than ``stuck``, and all of them longer than ``blocked``."""
    watch = "pretrain.hardware.mesh.watch={silent: 3, stuck: 2, blocked: 6}"
    assert exit_codes(launch_fetching, 2, comes, str(folder), watch, *SHORT, seconds=30) == codes
    told = said(folder)
    if comes:
        assert told == []
    else:
        [line] = told
        assert line.startswith("danlu: error: rank 1 (host ")
        assert re.search(r" hangs: nothing has come for \d+ s of what it fetches from elsewhere; all ranks stop", line)


def test_a_rank_that_hangs_as_it_leaves_ends_itself(folder: Path) -> None:
    """All is done by then, and nobody waits for it but the launcher."""
    assert exit_codes(launch_hanging_in, 2, "leaving", 1, "sleeps", str(folder), QUICK, *SHORT, seconds=30) == [0, LOST]
    [line] = said(folder)
    assert line.startswith("danlu: error: rank 1 (host ")
    assert " hangs as it leaves; " in line


@pytest.mark.parametrize("victim", [0, 1])
def test_a_rank_that_is_stopped_before_all_have_met_is_named(victim: int, folder: Path) -> None:
    command = [sys.executable, "-m", "danlu", "pretrain", folder / "recipe.yaml", f"run_dir={folder / 'run'}", *COMMON]
    world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(ranks.free_port())}
    known = {**os.environ, **world, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    started = []
    try:
        for rank in (victim, 1 - victim):
            places = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            with (folder / f"err-{rank}").open("w") as err:
                started.append(subprocess.Popen([*command, QUICK], env=known | places, stderr=err))
            if rank == victim:
                started[0].send_signal(signal.SIGSTOP)
        code = started[1].wait(30)
    finally:
        for process in started:
            process.kill()
            process.wait()
    assert code == LOST
    [line] = (folder / f"err-{1 - victim}").read_text().splitlines()
    assert line.startswith(f"danlu: error: rank {victim} (host ")
    assert f", process {started[0].pid}) has not come to 127.0.0.1:" in line
    assert line.endswith(": it is stopped; all ranks stop, run the same command to go on")


def test_another_torch_is_refused(folder: Path) -> None:
    assert exit_codes(launch_with_another_torch, 2, str(folder), *SHORT) == [2, 2]
    known = f"rank 1 has torch 9.9, rank 0 {torch.__version__}: all ranks need the same one"
    assert said(folder) == [f"danlu: error: {known}"]


def test_ctrl_c_on_one_rank_before_training_is_told(folder: Path) -> None:
    assert exit_codes(launch_until_ctrl_c, 2, str(folder), *SHORT) == [LOST, 128 + signal.SIGINT]
    [line] = said(folder)
    assert line.startswith("danlu: error: rank 1 (host ") and "was stopped by Ctrl-C" in line

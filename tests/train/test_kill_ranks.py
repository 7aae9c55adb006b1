"""One of two processes that train together is killed again and again: the end is that of undisturbed ones."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ranks
from launching import launch, launch_watchful

from danlu.log import read_metrics
from danlu.parallel.verdict import LOST
from danlu.train.checkpoint import checkpoints

STEPS = 60
PATIENT = "pretrain.hardware.mesh.watch.stuck=60"
"""A machine with much else to do is no reason to call a rank hanging."""
BESIDE = "pretrain.save={steps: 5, minutes: null, background: true}"


def fresh(packed: Path, folder: Path) -> Path:
    shutil.copytree(packed / "run", folder / "run")
    shutil.copy(packed / "recipe.yaml", folder)
    return folder


def result(folder: Path) -> dict[str, bytes]:
    """The files that decide all that follows, and the losses on the way."""
    stage = folder / "run" / "pretrain"
    newest = checkpoints(stage / "checkpoints")[-1]
    assert newest.name == f"step-{STEPS:08d}"
    files = [*(path for path in newest.rglob("*") if path.is_file()), stage / "model" / "model.safetensors"]
    losses = "\n".join(f"{line['step']} {line['loss']} {line['tokens']}" for line in read_metrics(stage))
    return {path.relative_to(stage).as_posix(): path.read_bytes() for path in files} | {"losses": losses.encode()}


def start(folder: Path, *overrides: str, function: Callable[..., int] = launch_watchful) -> list[Any]:
    """Two processes, each with the pipe that its result comes through, which must stay open."""
    for rank in range(2):
        for kind in ("out", "err"):
            (folder / f"{kind}-{rank}").write_text("")  # what an earlier process has said
    return ranks.start(function, 2, str(folder), PATIENT, *overrides)


def in_a_save(folder: Path, files: int) -> Callable[[], bool]:
    """When a checkpoint is being written by these processes, and has so many files."""
    saves = folder / "run" / "pretrain" / "checkpoints"
    before = {path: path.stat().st_ctime_ns for path in saves.glob(".step-*")}

    def moment() -> bool:
        try:
            new = [path for path in saves.glob(".step-*") if before.get(path) != path.stat().st_ctime_ns]
            return any(sum(1 for _ in path.rglob("*")) >= files for path in new)
        except FileNotFoundError:  # it has its name by now
            return False

    return moment


def done(folder: Path) -> bool:
    """Whether the last step is on the disk."""
    return checkpoints(folder / "run/pretrain/checkpoints")[-1].name == f"step-{STEPS:08d}"


def begun(folder: Path) -> bool:
    """Whether both have met: before that a launcher ends the others, or they wait for the rank some minutes."""
    return (folder / "out-0").read_text() != ""


def at_any_time(folder: Path, randoms: random.Random) -> Callable[[], bool]:
    """Some time after both have met."""
    wait, met = randoms.uniform(0, 1.5), list[float]()

    def moment() -> bool:
        if not met and begun(folder):
            met.append(time.monotonic())
        return bool(met) and time.monotonic() > met[0] + wait

    return moment


def strike(folder: Path, started: list[Any], victim: int, moment: Callable[[], bool]) -> bool:
    """kill -9 one rank at this moment; False where both came to their end before."""
    processes, struck = [process for process, _ in started], False
    while processes[victim].is_alive() and not struck:
        if begun(folder) and moment():
            processes[victim].kill()
            struck = True
        time.sleep(0.0005)
    for process in processes:
        process.join(60)
    codes = [process.exitcode for process in processes]
    said = [(folder / f"err-{rank}").read_text() for rank in range(2)]
    if codes[victim] == 0:  # it had done all
        assert codes[1 - victim] in (0, LOST), said
        return False
    assert codes[victim] == -signal.SIGKILL, (codes, said)
    if codes[1 - victim] == 0:  # the kill came when all was done and both were leaving
        assert done(folder)
        return True
    assert codes[1 - victim] == LOST, (codes, said)
    [line] = [line for line in said[1 - victim].splitlines() if line.startswith("danlu: ")]
    assert line.startswith(f"danlu: error: rank {victim} (host "), said
    return True


def kill_often(count: int, packed: Path, tmp_path: Path, straight: dict[str, bytes]) -> None:
    """``count`` kills of either rank, at any time, and during saves, in the training and beside it.

    Each time that the training comes to its end, that is the undisturbed one's, and another begins.
    """
    randoms, kills, ends = random.Random(7), 0, 0
    folder = fresh(packed, tmp_path / "0")
    while kills < count:
        settings = (BESIDE,) if randoms.random() < 0.5 else ()
        victim = randoms.randrange(2)
        moments = [at_any_time(folder, randoms), in_a_save(folder, randoms.randrange(9))]
        if strike(folder, start(folder, *settings), victim, moments[kills % 2]):
            kills += 1
        elif done(folder):
            ends += 1
            finish(folder)
            assert result(folder) == straight
            folder = fresh(packed, tmp_path / str(ends))
    finish(folder)
    assert result(folder) == straight
    assert not list((folder / "run/pretrain/checkpoints").glob(".*"))


def finish(folder: Path) -> None:
    started = start(folder, function=launch)
    for process, _ in started:
        process.join(120)
    assert [process.exitcode for process, _ in started] == [0, 0], (folder / "err-0").read_text()


@pytest.fixture(scope="module")
def straight(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = fresh(packed, tmp_path_factory.mktemp("together") / "0")
    finish(folder)
    return result(folder)


def test_one_of_two_is_killed_again_and_again(packed: Path, tmp_path: Path, straight: dict[str, bytes]) -> None:
    kill_often(2, packed, tmp_path, straight)


@pytest.mark.cluster
def test_one_of_two_is_killed_twenty_times(packed: Path, tmp_path: Path, straight: dict[str, bytes]) -> None:
    kill_often(20, packed, tmp_path, straight)


@pytest.mark.slow
def test_one_of_two_is_killed_two_hundred_times(packed: Path, tmp_path: Path, straight: dict[str, bytes]) -> None:
    kill_often(200, packed, tmp_path, straight)

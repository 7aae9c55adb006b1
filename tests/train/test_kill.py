"""A real process is killed again and again; what it leaves in the end is what an undisturbed one leaves."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from danlu.errors import RunLockedError
from danlu.log import read_metrics
from danlu.recipe import load_recipe
from danlu.runs import run_stages
from danlu.train.checkpoint import checkpoints

STEPS = 60


def start(run_dir: Path, packed: Path, *overrides: str, threads: int = 1) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "danlu", "pretrain", str(packed / "recipe.yaml"), f"run_dir={run_dir}", *overrides]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(run_dir: Path, packed: Path, *overrides: str, threads: int = 1) -> tuple[int, str, str]:
    process = start(run_dir, packed, *overrides, threads=threads)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def straight(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an undisturbed training leaves; in this process, which must make no difference either."""
    run_dir = copy(packed, tmp_path_factory.mktemp("straight"))
    run_stages(load_recipe(packed / "recipe.yaml", [f"run_dir={run_dir}"]), ["pretrain"])
    return result(run_dir)


def copy(packed: Path, folder: Path) -> Path:
    return Path(shutil.copytree(packed / "run", folder / "run"))


def result(run_dir: Path) -> dict[str, bytes]:
    """The files that decide all that follows, and the losses on the way."""
    folder = run_dir / "pretrain"
    newest = checkpoints(folder / "checkpoints")[-1]
    assert newest.name == f"step-{STEPS:08d}"
    files = [*(p for p in newest.rglob("*") if p.is_file()), folder / "model" / "model.safetensors"]
    losses = "\n".join(f"{line['step']} {line['loss']} {line['tokens']}" for line in read_metrics(folder))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files} | {"losses": losses.encode()}


def metrics(run_dir: Path) -> int:
    """Lines of metrics at this moment, cheaply."""
    try:
        return (run_dir / "pretrain" / "metrics.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def strike_when(process: subprocess.Popen[str], moment: Callable[[], bool], number: signal.Signals) -> bool:
    """Send ``number`` once ``moment`` has come; False where the process ended before."""
    while process.poll() is None:
        if moment():
            process.send_signal(number)
            return True
        time.sleep(0.0005)
    return False


def after_steps(run_dir: Path, count: int) -> Callable[[], bool]:
    """When so many more steps are done, by this process; a resumed one first drops what was not saved."""
    folder = run_dir / "pretrain" / "checkpoints"
    saved = int(checkpoints(folder)[-1].name[5:]) if folder.exists() and checkpoints(folder) else 0
    before = (run_dir / "pretrain" / "metrics.jsonl").stat().st_mtime_ns if metrics(run_dir) else 0

    def moment() -> bool:
        done = metrics(run_dir)
        touched = done and (run_dir / "pretrain" / "metrics.jsonl").stat().st_mtime_ns != before
        return bool(touched) and done >= saved + count

    return moment


def during_a_save(run_dir: Path, files: int) -> Callable[[], bool]:
    """When a hidden checkpoint of this process has so many files."""
    folder = run_dir / "pretrain" / "checkpoints"
    before = {path: path.stat().st_ctime_ns for path in folder.glob(".step-*.partial")} if folder.exists() else {}

    def moment() -> bool:
        for path in folder.glob(".step-*.partial"):
            try:
                if before.get(path) != path.stat().st_ctime_ns:
                    return sum(1 for _ in path.rglob("*")) >= files
            except FileNotFoundError:
                return False
        return False

    return moment


def random_moment(run_dir: Path, randoms: random.Random, *, during_save: bool) -> Callable[[], bool]:
    return during_a_save(run_dir, randoms.randrange(9)) if during_save else after_steps(run_dir, randoms.randint(1, 8))


def kill_once(run_dir: Path, packed: Path, moment: Callable[[], bool]) -> bool:
    """Start, kill -9 at this moment; False where the training came to its end first."""
    process = start(run_dir, packed)
    struck = strike_when(process, moment, signal.SIGKILL)
    _, err = process.communicate(timeout=300)
    assert process.returncode == (-signal.SIGKILL if struck else 0), err
    return struck


def test_killed_five_times(packed: Path, tmp_path: Path, straight: dict[str, bytes]) -> None:
    run_dir, randoms = copy(packed, tmp_path), random.Random(3)
    for during_save in (False, True, False, True):
        assert kill_once(run_dir, packed, random_moment(run_dir, randoms, during_save=during_save))
    assert kill_once(run_dir, packed, after_steps(run_dir, 11))  # two saves later: there is one before the newest
    *_, newest = checkpoints(run_dir / "pretrain" / "checkpoints")
    weights = newest / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    code, out, err = finish(run_dir, packed)
    assert code == 0, err
    assert f"checkpoint {newest} is damaged (model.safetensors is not what was written); going on from step-" in out
    assert result(run_dir) == straight
    assert [line["step"] for line in read_metrics(run_dir / "pretrain")] == list(range(1, STEPS + 1))
    seconds = [line["seconds"] for line in read_metrics(run_dir / "pretrain")]
    assert seconds == sorted(set(seconds))
    assert not list((run_dir / "pretrain" / "checkpoints").glob(".*"))


@pytest.mark.slow
def test_killed_fifty_times(packed: Path, tmp_path: Path, straight: dict[str, bytes]) -> None:
    """Every third kill at any time at all, from the first import to the last line."""
    randoms, kills, ends = random.Random(5), 0, 0
    run_dir = copy(packed, tmp_path / "0")
    while kills < 50:
        if kills % 3 == 2:
            process = start(run_dir, packed)
            until = time.monotonic() + randoms.uniform(0, 10)
            struck = strike_when(process, lambda until=until: time.monotonic() > until, signal.SIGKILL)  # type: ignore[misc]
            process.communicate(timeout=300)
        else:
            struck = kill_once(run_dir, packed, random_moment(run_dir, randoms, during_save=kills % 3 == 1))
        kills += struck
        if not struck:
            ends += 1
            assert result(run_dir) == straight
            run_dir = copy(packed, tmp_path / str(ends))
    code, _, err = finish(run_dir, packed)
    assert code == 0, err
    assert result(run_dir) == straight
    assert ends >= 2


def test_sigterm_saves_this_step_and_says_so(packed: Path, tmp_path: Path, straight: dict[str, bytes]) -> None:
    run_dir = copy(packed, tmp_path)
    process = start(run_dir, packed)
    assert strike_when(process, after_steps(run_dir, 7), signal.SIGTERM)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 143
    step = read_metrics(run_dir / "pretrain")[-1]["step"]
    assert err == f"danlu: stopped after step {step} as asked; the work is saved, run the same command to go on\n"
    assert checkpoints(run_dir / "pretrain" / "checkpoints")[-1].name == f"step-{step:08d}"
    code, out, err = finish(run_dir, packed)
    assert code == 0, err
    assert f"going on after step {step}\n" in out
    assert result(run_dir) == straight


def test_a_second_run_in_the_same_folder_is_refused(packed: Path, tmp_path: Path, straight: dict[str, bytes]) -> None:
    run_dir = copy(packed, tmp_path)
    process = start(run_dir, packed)
    assert strike_when(process, after_steps(run_dir, 1), signal.SIGSTOP)
    before = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
    try:
        code, _, err = finish(run_dir, packed)
        with pytest.raises(RunLockedError):
            run_stages(load_recipe(packed / "recipe.yaml", [f"run_dir={run_dir}"]), ["pretrain"])
        assert {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()} == before
    finally:
        process.send_signal(signal.SIGCONT)
    assert code == 2
    assert err.startswith(f"danlu: error: {run_dir} is in use by process {process.pid} since ")
    assert err.count("\n") == 1
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert result(run_dir) == straight


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_two_threads_and_compilation_leave_the_same_bytes(precision: str, packed: Path, tmp_path: Path) -> None:
    """Twice in a row, and once more with a kill in the middle; a micro-batch that is cut short included."""
    settings = (f"pretrain.precision={precision}", "pretrain.compile=on", "pretrain.batch=6", "pretrain.micro_batch=4",
                "pretrain.model.dim=128", "pretrain.sequence=64")  # fmt: skip
    results = []
    for name in ("first", "second", "killed"):
        run_dir = copy(packed, tmp_path / name)
        if name == "killed":
            process = start(run_dir, packed, *settings, threads=2)
            assert strike_when(process, after_steps(run_dir, 33), signal.SIGKILL)
            process.communicate(timeout=300)
        code, out, err = finish(run_dir, packed, *settings, threads=2)
        assert code == 0, err
        assert "blocks are compiled by torch.compile" in out
        assert "no compilation" not in out
        assert ("going on after step" in out) == (name == "killed")
        results.append(result(run_dir))
    assert results[0] == results[1]
    assert results[0] == results[2]

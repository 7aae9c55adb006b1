"""A real process is killed again and again; what it leaves in the end is what an undisturbed one leaves."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from danlu.errors import RunLockedError
from danlu.log import read_metrics
from danlu.recipe import load_recipe
from danlu.runs import run_stages
from danlu.train.checkpoint import checkpoints

STEPS = 60
Process = Any
"""One that was started, or :class:`Fork`, which is alike."""


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


def strike_when(process: Process, moment: Callable[[], bool], number: signal.Signals) -> bool:
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


class Forks:
    """Starts danlu in processes that have everything imported, so that a kill takes no seconds of start-up."""

    def __init__(self, packed: Path, folder: Path) -> None:
        self.packed, self.folder, self.started = packed, folder, 0
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.program = subprocess.Popen(
            [sys.executable, Path(__file__).parent / "forking_danlu.py"],
            env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def ask(self, **question: object) -> int | None:
        assert self.program.stdin is not None and self.program.stdout is not None
        print(json.dumps(question), file=self.program.stdin, flush=True)
        answer: int | None = json.loads(self.program.stdout.readline())
        return answer

    def start(self, run_dir: Path, *overrides: str) -> Fork:
        self.started += 1
        out = self.folder / f"process-{self.started}"
        for suffix in (".out", ".err"):  # a kill may come before it has made them itself
            Path(f"{out}{suffix}").touch()
        command = ["pretrain", str(self.packed / "recipe.yaml"), f"run_dir={run_dir}", *overrides]
        pid = self.ask(start=command, out=str(out))
        assert pid is not None
        return Fork(self, pid, out)


@dataclass
class Fork:
    """One of them, with the methods of ``subprocess.Popen``."""

    forks: Forks
    pid: int
    out: Path
    returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self.forks.ask(poll=self.pid)
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def communicate(self, timeout: float) -> tuple[str, str]:
        until = time.monotonic() + timeout
        while self.poll() is None:
            assert time.monotonic() < until
            time.sleep(0.002)
        return Path(f"{self.out}.out").read_text(), Path(f"{self.out}.err").read_text()


@pytest.fixture(scope="module")
def forks(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    forks = Forks(packed, tmp_path_factory.mktemp("forks"))
    yield forks
    assert forks.program.stdin is not None and forks.program.stdout is not None
    forks.program.stdin.close()
    forks.program.wait(timeout=60)
    forks.program.stdout.close()


BESIDE = "pretrain.save={steps: 5, background: true}"
"""Nothing in the result changes with it, so one process of a run may save this way and the next the other way."""


def kill_once(process: Process, moment: Callable[[], bool]) -> bool:
    """kill -9 at this moment; False where the training came to its end first."""
    struck = strike_when(process, moment, signal.SIGKILL)
    _, err = process.communicate(timeout=300)
    assert process.returncode in ((-signal.SIGKILL, 0) if struck else (0,)), err
    return process.returncode == -signal.SIGKILL


def kill_often(
    count: int, forks: Forks, packed: Path, tmp_path: Path, straight: dict[str, bytes], *, real_every: int
) -> None:
    """Kill ``count`` times: after some steps, during a save, at any time at all; saving in the training and beside it.

    Each time that the training comes to its end, that is the undisturbed one's, and another begins. Every
    ``real_every``-th process is started as a user would.
    """
    randoms, kills, ends = random.Random(5), 0, 0
    run_dir = copy(packed, tmp_path / "0")
    while kills < count:
        settings = (BESIDE,) if randoms.random() < 0.5 else ()
        real = kills % real_every == real_every - 1
        until = time.monotonic() + randoms.uniform(0, 10 if real else 1.5)
        moments: list[Callable[[], bool]] = [
            random_moment(run_dir, randoms, during_save=False),
            random_moment(run_dir, randoms, during_save=True),
            lambda until=until: time.monotonic() > until,  # type: ignore[misc]
        ]
        process = start(run_dir, packed, *settings) if real else forks.start(run_dir, *settings)
        struck = kill_once(process, moments[kills % 3])
        kills += struck
        if not struck:
            ends += 1
            assert result(run_dir) == straight
            run_dir = copy(packed, tmp_path / str(ends))
    process = forks.start(run_dir)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert result(run_dir) == straight
    assert not list((run_dir / "pretrain" / "checkpoints").glob(".*"))


def test_killed_again_and_again(forks: Forks, packed: Path, tmp_path: Path, straight: dict[str, bytes]) -> None:
    """With the four at known places below, twenty kills in all."""
    kill_often(16, forks, packed, tmp_path, straight, real_every=8)


@pytest.mark.slow
def test_killed_two_hundred_times(forks: Forks, packed: Path, tmp_path: Path, straight: dict[str, bytes]) -> None:
    kill_often(200, forks, packed, tmp_path, straight, real_every=20)


@pytest.mark.parametrize("settings", [(), (BESIDE,)], ids=["in the training", "beside it"])
def test_resumed_thrice_within_an_epoch_and_again_in_a_later_one(
    settings: tuple[str, ...], forks: Forks, packed: Path, tmp_path: Path, straight: dict[str, bytes]
) -> None:
    """An epoch has 21.5 steps; the newest checkpoint is damaged on the way, and the one before it is used."""
    run_dir, going_on = copy(packed, tmp_path), []
    folder = run_dir / "pretrain" / "checkpoints"
    for step in (5, 10, 15, 30):

        def saved(step: int = step) -> bool:
            return any(int(path.name[5:]) >= step for path in checkpoints(folder))

        process = forks.start(run_dir, *settings)
        assert strike_when(process, saved, signal.SIGKILL)
        out, _ = process.communicate(timeout=300)
        going_on += [int(line.split()[-1]) for line in out.splitlines() if line.startswith("going on after step")]
    newest = checkpoints(folder)[-1]
    weights = newest / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    process = forks.start(run_dir, *settings)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert f"checkpoint {newest} is damaged (model.safetensors is not what was written); going on from step-" in out
    [first, second, third] = going_on
    assert 5 <= first < second < third <= 20, "three within the first epoch"
    last = next(int(line.split()[-1]) for line in out.splitlines() if line.startswith("going on after step"))
    assert 22 < last < 43
    assert result(run_dir) == straight
    assert [line["step"] for line in read_metrics(run_dir / "pretrain")] == list(range(1, STEPS + 1))
    seconds = [line["seconds"] for line in read_metrics(run_dir / "pretrain")]
    assert seconds == sorted(set(seconds))


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
    settings = (f"pretrain.precision={precision}", "pretrain.compile=on", "pretrain.batch=6",
                "pretrain.hardware.micro_batch=4", "pretrain.model.dim=128", "pretrain.sequence=64")  # fmt: skip
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

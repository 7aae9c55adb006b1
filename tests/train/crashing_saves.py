"""Kill a save, or make the disk refuse, before every n-th thing that it does to the disk.

Run as a program by ``test_crash.py`` with a folder and n; its last line is a JSON object of what it saw. It forks
at each moment, which a process with a test runner's threads should not do.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch

from danlu.errors import InputError, OutputError
from danlu.nn.families import GPT
from danlu.nn.hf import weight_files
from danlu.nn.transformer import Transformer
from danlu.train import checkpoint
from danlu.train.checkpoint import TrainingState, find_damage, load_newest, save_checkpoint

WRITES = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "shutil.rmtree")
CONFIG = GPT(layers=1, dim=8, heads=1).config(vocab_size=11, max_length=8)
SHAPES = {name: weight.shape for name, weight in Transformer(CONFIG).named_parameters()}


def state(step: int) -> TrainingState:
    """A state that says its step in every number."""
    weights = {name: torch.full(shape, float(step)) for name, shape in SHAPES.items()}
    optimizer = {"state": {0: {"mean": torch.full((4,), float(step))}}, "param_groups": [{"lr": step, "params": [0]}]}
    return TrainingState(step, step * 100, weights, optimizer)


def is_whole(found: TrainingState) -> bool:
    wanted = state(found.step)
    same = all(torch.equal(found.weights[name], weight) for name, weight in wanted.weights.items())
    moment = found.optimizer["state"][0]["mean"]
    return same and torch.equal(moment, wanted.optimizer["state"][0]["mean"]) and found.tokens == wanted.tokens


class Disk:
    """Calls ``strike`` before the n-th change of the disk, where it has one."""

    def __init__(self) -> None:
        self.left = -1
        self.strike: Callable[[], None] | None = None
        sys.addaudithook(self._hear)
        for module in (safetensors.torch, weight_files):
            module.save_file = self._watched(module.save_file)  # type: ignore[attr-defined, assignment]
        os.fsync = self._watched(lambda descriptor: None)  # slow, and needed only where the power may fail

    def arm(self, moment: int, strike: Callable[[], None] | None) -> None:
        self.left, self.strike = moment, strike

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if event in WRITES and self.strike is not None:
            self._count()

    def _watched(self, function: Callable[..., object]) -> Callable[..., object]:
        def watched(*arguments: object, **settings: object) -> object:
            self._count()
            return function(*arguments, **settings)

        return watched

    def _count(self) -> None:
        strike = self.strike
        self.left -= 1
        if self.left < 0 and strike is not None:
            self.strike = None
            strike()


def scenarios(folder: Path) -> dict[str, tuple[Path, Callable[[Path], object], set[int | None]]]:
    """Name to the folder before, what is done, and the steps that may be found afterwards."""
    both, torn, empty = folder / "both", folder / "torn", folder / "empty"
    for base, steps in ((both, (5, 10)), (torn, (5, 10)), (empty, ())):
        base.mkdir(parents=True)
        for step in steps:
            save_checkpoint(base, state(step), CONFIG)
    (torn / "step-00000010" / "config.json").unlink()
    return {
        "save": (both, lambda work: save_checkpoint(work, state(20), CONFIG), {10, 20}),
        "save over a damaged one": (torn, lambda work: save_checkpoint(work, state(10), CONFIG), {5, 10}),
        "save the first": (empty, lambda work: save_checkpoint(work, state(20), CONFIG), {None, 20}),
        "load past a damaged one": (torn, lambda work: load_newest(work, lambda line: None), {5}),
    }


def killed(disk: Disk, moment: int, do: Callable[[], object]) -> bool:
    """Whether a child that dies at this moment of ``do`` came that far."""
    child = os.fork()
    if child == 0:
        disk.arm(moment, lambda: os._exit(9))
        do()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def refused(disk: Disk, moment: int, do: Callable[[], object]) -> bool:
    """Whether ``do`` came as far as this moment, at which the disk was full."""

    def strike() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    disk.arm(moment, strike)
    try:
        do()
    except (InputError, OutputError, OSError) as error:
        assert "no space left" in str(error).lower(), error
    struck = disk.strike is None
    disk.arm(-1, None)
    return struck


def check(work: Path, allowed: set[int | None]) -> int | None:
    """The step that is found now; and a save from here ends well and tidies up."""
    whole = {path.name for path in checkpoint.checkpoints(work) if find_damage(path) is None}
    found = load_newest(work, lambda line: None) if whole else None
    step = found.step if found is not None else None
    assert step in allowed, (step, allowed, sorted(path.name for path in work.iterdir()))
    assert found is None or is_whole(found)
    save_checkpoint(work, state(30), CONFIG)
    after = load_newest(work, lambda line: None)
    assert after is not None
    assert after.step == 30
    assert is_whole(after)
    names = sorted(path.name for path in work.iterdir())
    assert len(names) <= checkpoint.KEEP, names
    assert not any(name.startswith(".") for name in names), names
    return step


def main(folder: Path, every: int) -> None:
    disk, seen = Disk(), {}
    for name, (base, do, allowed) in scenarios(folder).items():
        for how in (killed, refused):
            steps: Counter[str] = Counter()
            moment, struck = 0, True
            while struck:
                work = folder / "work"
                shutil.rmtree(work, ignore_errors=True)
                shutil.copytree(base, work)
                struck = how(disk, moment, lambda: do(work))  # noqa: B023 (called at once)
                steps[str(check(work, allowed))] += 1
                moment += every
            seen[f"{name}, {how.__name__}"] = steps
    print(json.dumps(seen))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), int(sys.argv[2]))

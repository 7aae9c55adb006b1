"""Kill a save, refuse it or cut the power at every call of the system that changes the disk, one run a call.

Run as a program by ``test_crash.py``, with ``disk_calls.c`` preloaded, and with a folder, one with a tokenizer, a JSON
list of kinds of faults, and the scenarios; without any of those it breaks the mechanisms themselves, and says which of
them it noticed. Its last line is a JSON object. It forks, which a process with a test runner's threads should not do.
The state right after a call is the state right before the next one, so one run a call is both.
"""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import stat
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import torch
from watched_disk import Call, Disk, Watch, read_tree, write_half, write_tree

from danlu.errors import OutputError
from danlu.nn.families import GPT
from danlu.nn.transformer import Transformer
from danlu.train import checkpoint
from danlu.train.checkpoint import TrainingState, find_damage, load_newest, save_checkpoint

CONFIG = GPT(layers=1, dim=8, heads=1).config(vocab_size=11, max_length=8)
SHAPES = {name: weight.shape for name, weight in Transformer(CONFIG).named_parameters()}
REFUSALS = {
    "full from here": (errno.ENOSPC, True),
    "full once": (errno.ENOSPC, False),
    "failing once": (errno.EIO, False),
    "read-only from here": (errno.EROFS, True),
}
BROKEN = {
    "files are not synced": "power lost",
    "folders are not synced": "power lost",
    "the old ones go first": "killed",
    "it is written in place": "killed in a write",
    "what a refused save wrote stays": "full from here",
}
"""What can be broken on purpose, and the kind of fault that must show it."""
CHANCES = 4
"""How often the dice are thrown about what was not synced, at each call."""


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


@dataclass(frozen=True)
class Scenario:
    """What is done to a folder, and the steps that may be found when that is cut short."""

    base: Path
    do: Callable[[Path], object]
    before: int | None
    after: int | None


def scenarios(folder: Path, tokenizer: Path) -> dict[str, Scenario]:
    both, torn, empty = folder / "both", folder / "torn", folder / "empty"
    for base, steps in ((both, (5, 10)), (torn, (5, 10)), (empty, ())):
        base.mkdir(parents=True)
        for step in steps:
            save_checkpoint(base / "checkpoints", state(step), CONFIG, tokenizer=tokenizer)
    (torn / "checkpoints" / "step-00000010" / "config.json").unlink()

    def save(step: int) -> Callable[[Path], object]:
        # Looked up late, so that what is broken on purpose is met.
        return lambda work: checkpoint.save_checkpoint(work, state(step), CONFIG, tokenizer=tokenizer)

    return {
        "save": Scenario(both, save(20), 10, 20),
        "save over a damaged one": Scenario(torn, save(10), 5, 10),
        "save the first": Scenario(empty, save(20), None, 20),
        "load past a damaged one": Scenario(torn, lambda work: load_newest(work, lambda line: None), 5, 5),
    }


class Faults:
    """Runs a scenario again and again, with something going wrong at each of its calls."""

    def __init__(self, folder: Path, scenario: Scenario) -> None:
        self.work, self.scenario = folder / "work", scenario
        self.checkpoints = self.work / "checkpoints"
        self.calls: list[Call] = []
        self._fresh()
        self.disk = Disk(self.work)
        with WATCH.hearing(self.work, self._note):
            scenario.do(self.checkpoints)
        for call in self.calls:
            self.disk.make(call)
        assert self.disk.now() == read_tree(self.work), "something was written past the watch"

    def _fresh(self) -> None:
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.scenario.base, self.work)

    def _note(self, call: Call) -> int:
        self.calls.append(call)
        return 0

    def killed(self, moment: int, *, torn: bool) -> int | None:
        """The step that is found when the process dies before this call, or in the middle of its write."""
        self._fresh()

        def decide(call: Call) -> int:
            if next(count) == moment:
                if torn:
                    write_half(call)
                os._exit(9)
            return 0

        count = iter(range(len(self.calls) + 1))
        child = os.fork()
        if child == 0:
            with WATCH.hearing(self.work, decide):
                self.scenario.do(self.checkpoints)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        return self._found()

    def refused(self, moment: int, number: int, *, lasting: bool) -> int | None:
        """The step that is found when this call and, if lasting, those after it fail; no half is left."""
        self._fresh()
        before, seen = {path.name for path in self.checkpoints.glob("*")}, 0

        def decide(call: Call) -> int:
            nonlocal seen
            seen += 1
            struck = seen > moment if lasting else seen == moment + 1
            return number if struck and (call.needs_room or number != errno.ENOSPC) else 0

        try:
            with WATCH.hearing(self.work, decide):
                self.scenario.do(self.checkpoints)
        except OutputError as error:
            assert "\n" not in str(error)
            assert str(self.work) in str(error), error
        if number == errno.ENOSPC:  # the others refuse tidying up too
            left = {path.name for path in self.checkpoints.glob(".*")} - before
            assert not left or "removed" in min(left), left
        return self._found()

    def power_lost(self) -> dict[str, int]:
        """What is found when the power fails before each call, and after the last; and how many different disks."""
        disk, randoms, known = Disk(self.scenario.base), random.Random(7), {}
        disk.root = self.work
        steps: Counter[str] = Counter()
        removing = False
        for call in [*self.calls, None]:
            lost = [disk.only_what_was_synced(), disk.names_without_content()]
            for tree in [*lost, *(disk.by_chance(randoms) for _ in range(CHANCES))]:
                allowed = {self.scenario.after} if removing or call is None else self._either()
                key = (repr(tree), str(allowed))
                if key not in known:
                    shutil.rmtree(self.work)
                    write_tree(self.work, tree)
                    known[key] = self._found(allowed)
                steps[str(known[key])] += 1
            if call is not None:
                disk.make(call)
                removing = removing or str(call.target).endswith(".removed")
        return {**steps, "disks": len(known)}

    def _either(self) -> set[int | None]:
        return {self.scenario.before, self.scenario.after}

    def _found(self, allowed: set[int | None] | None = None) -> int | None:
        """The step that is found now; and a save from here ends well and tidies up."""
        folder = self.checkpoints
        whole = {path.name for path in checkpoint.checkpoints(folder) if find_damage(path) is None}
        found = load_newest(folder, lambda line: None) if whole else None
        step = found.step if found is not None else None
        assert step in (allowed or self._either()), f"step {step}; {sorted(path.name for path in folder.glob('*'))}"
        assert found is None or is_whole(found)
        save_checkpoint(folder, state(30), CONFIG)
        after = load_newest(folder, lambda line: None)
        assert after is not None
        assert after.step == 30
        assert is_whole(after)
        names = sorted(path.name for path in folder.iterdir())
        assert len(names) <= checkpoint.KEEP, names
        assert not any(name.startswith(".") for name in names), names
        return step


def look(faults: Faults, kind: str) -> dict[str, int]:
    """One kind of fault at every call there is; each time's outcome is checked, and counted here."""
    moments = range(len(faults.calls))
    writes = [moment for moment in moments if faults.calls[moment].name == "write"]
    if kind == "power lost":
        return faults.power_lost()
    if kind == "killed":
        return Counter(str(faults.killed(moment, torn=False)) for moment in moments)
    if kind == "killed in a write":
        return Counter(str(faults.killed(moment, torn=True)) for moment in writes)
    number, lasting = REFUSALS[kind]
    return Counter(str(faults.refused(moment, number, lasting=lasting)) for moment in moments)


def break_on_purpose(what: str) -> None:
    """Take one of the mechanisms away, so that a test can see this program notice."""
    real_sync, real_save = os.fsync, checkpoint.save_checkpoint

    def sync_only(is_kind: Callable[[int], bool]) -> None:
        os.fsync = lambda file: real_sync(file) if is_kind(os.fstat(file).st_mode) else None

    def remove_first(folder: Path, *arguments: object, **settings: object) -> Path:
        for old in checkpoint.checkpoints(folder):
            shutil.rmtree(old)
        return real_save(folder, *arguments, **settings)

    def in_place(folder: Path, state: TrainingState, *arguments: object, **settings: object) -> Path:
        newest = checkpoint.checkpoints(folder)[-1]
        for old in checkpoint.checkpoints(folder):
            (old / "model.safetensors").write_bytes(bytes(5000))
        return newest

    if what == "files are not synced":
        sync_only(stat.S_ISDIR)
    elif what == "folders are not synced":
        sync_only(stat.S_ISREG)
    elif what == "the old ones go first":
        checkpoint.save_checkpoint = remove_first
    elif what == "it is written in place":
        checkpoint.save_checkpoint = in_place
    else:
        checkpoint.shutil = SimpleNamespace(rmtree=lambda *_, **__: None)


def is_noticed(what: str, folder: Path, scenario: Scenario) -> bool:
    """Whether this program ends with an error when one of the mechanisms is taken away."""
    child = os.fork()
    if child == 0:
        break_on_purpose(what)
        try:
            look(Faults(folder, scenario), BROKEN[what])
        except AssertionError:
            os._exit(7)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def main(folder: Path, tokenizer: Path, kinds: list[str], names: list[str]) -> None:
    torch.set_num_threads(1)
    known = scenarios(folder, tokenizer)
    seen: dict[str, object] = {}
    for name in names:
        faults = Faults(folder, known[name])
        calls = Counter(call.name for call in faults.calls)
        seen[name] = {"calls": calls} | {kind: look(faults, kind) for kind in kinds}
    if not names:
        seen = {what: is_noticed(what, folder, known["save"]) for what in BROKEN}
    print(json.dumps(seen))


if __name__ == "__main__":
    WATCH = Watch()
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4:])

"""A save whose process dies before every call that changes the disk, and in the middle of every write."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from danlu.errors import CheckpointError
from danlu.nn.families import GPT
from danlu.nn.transformer import Transformer
from danlu.train import checkpoint
from danlu.train.checkpoint import TrainingState
from danlu.verify import forks
from danlu.verify.outcome import Outcome
from danlu.verify.sample import Sample
from danlu.verify.synced import Synced
from danlu.verify.traced import NotTracedError, calls, supported

BEFORE, AFTER, NEXT = 10, 20, 30
"""The newest step that is there, the one that is saved, and one that is saved after the crash."""
CONFIG = GPT(layers=1, dim=8, heads=1).config(vocab_size=60, max_length=8)
LEAST = {"write": 5, "fsync": 10, "rename": 2, "unlink": 4}
"""Calls that a save makes at least; fewer would mean that some are not heard."""
KINDS = {"renameat": "rename", "renameat2": "rename", "unlinkat": "unlink", "rmdir": "unlink", "fdatasync": "fsync"}
"""Which of them a call is, where its name is another."""
SECONDS = 200.0
EVERY = 1
"""Of how many crashes one is looked at."""


def crashes(sample: Sample) -> Outcome:
    """What is found after each crash is the old or the new checkpoint, whole; and the next save ends well.

    What a power failure leaves is not tried here, but what it may leave: that all was synced before it was relied on.
    """
    if why := supported():
        return Outcome("", "-", "-", not_run=why)
    seen = forks.start(everywhere, sample.new("crashes"), said=sample.new("said") / "crashes").result(seconds=SECONDS)
    if isinstance(seen, str):
        return Outcome("", "-", "-", not_run=seen)
    kinds, looks, faults, early = seen
    missing = [f"only {kinds.get(kind, 0)} {kind}s are heard" for kind, least in LEAST.items() if kinds[kind] < least]
    told = ", ".join(f"{kinds[kind]} {kind}s" for kind in LEAST)
    whole = looks - len(faults)
    return Outcome(f"{looks} crashes of one save: {told}, of which writes also in the middle; all is synced "
                   "before the old one goes", f"{whole} of {looks}", "all", missing + early + faults)  # fmt: skip


def everywhere(folder: Path) -> tuple[Counter[str], int, list[str], list[str]] | str:
    """How many calls of each kind a save makes, how often it was killed, what was wrong then, and what was not synced.

    Where nobody may be traced, why.
    """
    base, work = folder / "base", folder / "work"
    for step in (BEFORE // 2, BEFORE):
        _save(base / "checkpoints", step)
    try:
        _fresh(base, work)
        heard, synced = [], Synced(work / "checkpoints")
        for call in calls(lambda: _save(work / "checkpoints", AFTER), work):
            heard.append(call.name)
            synced.hear(call)
    except NotTracedError as error:
        return str(error)
    crashing = [_Crash(number) for number in range(len(heard))]
    crashing += [_Crash(number, torn=True) for number, name in enumerate(heard) if name == "write"]
    crashing, faults = crashing[::EVERY], list[str]()
    for crash in crashing:
        _fresh(base, work)
        crash.happen(work)
        if wrong := _wrong(work / "checkpoints"):
            where = f"{'in' if crash.torn else 'before'} call {crash.number + 1} of {len(heard)}, {heard[crash.number]}"
            faults.append(f"killed {where}: {wrong}")
    return Counter(KINDS.get(name, name) for name in heard), len(crashing), faults, synced.faults


@dataclass(frozen=True)
class _Crash:
    """Where a process dies."""

    number: int
    """The call that it does not make any more."""
    torn: bool = False
    """Whether it makes half of it."""

    def happen(self, work: Path) -> None:
        made = calls(lambda: _save(work / "checkpoints", AFTER), work)
        for number, call in enumerate(made):
            if number == self.number:
                if self.torn:
                    call.write_half()
                made.close()  # type: ignore[attr-defined]
                return
        raise AssertionError("this save made fewer calls than the one before")


def _fresh(base: Path, work: Path) -> None:
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(base, work)


def state(step: int) -> TrainingState:
    """A state that says its step in every number."""
    shapes = {name: weight.shape for name, weight in Transformer(CONFIG).named_parameters()}
    weights = {name: torch.full(shape, float(step)) for name, shape in shapes.items()}
    optimizer = {"state": {0: {"mean": torch.full((4,), float(step))}}, "param_groups": [{"lr": step, "params": [0]}]}
    return TrainingState(step, step * 100, weights, optimizer)


def _save(folder: Path, step: int) -> Any:
    return checkpoint.save_checkpoint(folder, state(step), CONFIG)


def _wrong(folder: Path) -> str:
    """What is wrong with what a crash has left; nothing where all is well."""
    damaged: list[str] = []
    try:
        found = checkpoint.load_newest(folder, damaged.append)
    except CheckpointError as error:
        return str(error)
    if found is None or found.step not in (BEFORE, AFTER):
        return f"step {None if found is None else found.step} is found"
    if damaged:
        return f"it is there, but {damaged[0]}"
    if not _is_whole(found):
        return f"step {found.step} is not what was saved"
    _save(folder, NEXT)
    after = checkpoint.load_newest(folder, damaged.append)
    names = sorted(path.name for path in folder.iterdir())
    if after is None or after.step != NEXT or not _is_whole(after):
        return "the next save does not end well"
    left = len(names) > checkpoint.KEEP or any(name.startswith(".") for name in names)
    return f"the next save leaves {', '.join(names)}" if left else ""


def _is_whole(found: TrainingState) -> bool:
    wanted = state(found.step)
    same = all(torch.equal(found.weights[name], weight) for name, weight in wanted.weights.items())
    moments = (each.optimizer["state"][0]["mean"] for each in (found, wanted))
    return same and torch.equal(*moments) and found.tokens == wanted.tokens

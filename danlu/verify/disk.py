"""Disks that refuse and disks that forget: a save that fails, and a checkpoint that is no longer what was written."""

from __future__ import annotations

import errno
import os
import random
import resource
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from danlu.corpus.store import TokenStore
from danlu.errors import OutputError
from danlu.nn.families import GPT
from danlu.nn.transformer import Transformer
from danlu.train.budget import Budget
from danlu.train.checkpoint import TrainingState, checkpoints, find_damage, load_newest, save_checkpoint
from danlu.train.length import Length
from danlu.train.pretrain import heldout_of
from danlu.train.run import Run
from danlu.train.settings import Saves
from danlu.verify.outcome import Outcome
from danlu.verify.sample import Sample, quiet, small

STEPS, SAVED, ROOM = 20, 5, 10
"""Steps, of which every fifth is saved, and the last one for which there is room on the disk."""
LIMIT = 3000
"""Bytes of the largest file that the system then allows: less than the weights."""
DAMAGES = 1000
Files = dict[str, bytes]
"""What is in a checkpoint, by name."""
KINDS = ("flip", "flip", "flip", "cut", "cut", "append", "hole", "zero", "delete", "swap", "older")


@contextmanager
def no_room() -> Iterator[None]:
    """The system refuses files that are larger than ``LIMIT``, to every library alike."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def as_the_system_says(number: int) -> Iterator[None]:
    """Folders cannot be made and files not be synced, with the error of this number."""

    def refuse(place: Any, *_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number), str(place) if not isinstance(place, int) else None)

    with patch.object(os, "mkdir", refuse), patch.object(os, "fsync", refuse):
        yield


REFUSALS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "no room": no_room,
    "read-only": lambda: as_the_system_says(errno.EROFS),
    "full": lambda: as_the_system_says(errno.ENOSPC),
    "failing": lambda: as_the_system_says(errno.EIO),
}


def refusals(sample: Sample) -> Outcome:
    """Saves fail from some step on: the training goes on and says so, and the old checkpoint is what it was."""
    faults: list[str] = []
    wanted = _run(sample, sample.new("roomy"), "")[1]
    for why in REFUSALS:
        for background in (False, True):
            name = f"{why}, {'beside the training' if background else 'in the training'}"
            out = sample.new("refused")
            told, weights = _run(sample, out, why, background=background)
            faults += [f"{name}: {each}" for each in _wrong(told, out)]
            if weights.keys() != wanted.keys() or not all(torch.equal(weights[n], wanted[n]) for n in wanted):
                faults.append(f"{name}: the weights differ from those of a training with room")
    count = 2 * len(REFUSALS)
    held = count - len({fault.split(":")[0] for fault in faults})
    compared = f"{count} trainings: no room, read-only, full, failing; in the training and beside it"
    return Outcome(compared, f"{held} of {count}", f"{count} of {count}", faults)


def _run(sample: Sample, out: Path, why: str, *, background: bool = False) -> tuple[str, dict[str, torch.Tensor]]:
    """What a training says, and its weights; from ``ROOM`` on, saves are refused."""
    saves = Saves(steps=SAVED, minutes=None, background=background)
    settings = small(model=GPT(layers=1, dim=16, heads=1), batch=4, budget=Budget(steps=STEPS), save=saves)
    training = sample.training(model=GPT(layers=1, dim=16, heads=1), batch=4)
    heldout = heldout_of(settings, training, TokenStore.open(sample.run / "pack" / "heldout"), seed=3)

    def train(end: int) -> None:
        Run(settings, training, heldout, Length(end, settled=True), out, sample.run / "tokenizer", 3).train()

    with quiet() as said:
        train(ROOM)
        if not why:
            train(STEPS)
        else:
            with REFUSALS[why]():
                try:
                    train(STEPS)
                except OutputError as error:
                    said.write(f"ended: {error}\n")
    return said.getvalue(), {name: weight.clone() for name, weight in training.masters.state().items()}


def _wrong(told: str, out: Path) -> list[str]:
    lines = told.splitlines()
    found = []
    for step in range(ROOM + SAVED, STEPS + 1, SAVED):
        warnings = [line for line in lines if line.startswith(f"could not save a checkpoint at step {step} (cannot")]
        if len(warnings) != 1 or not warnings[0].endswith("; training goes on"):
            found.append(f"step {step}: {len(warnings)} warnings")
    if not any(line.startswith("ended: the last checkpoint could not be saved") for line in lines):
        found.append("the end does not say that the last checkpoint is missing")
    names = [path.name for path in checkpoints(out / "checkpoints") if find_damage(path) is None]
    if names != [f"step-{step:08d}" for step in (ROOM - SAVED, ROOM)]:
        found.append(f"the checkpoints are {names}")
    return found


def damage(sample: Sample) -> Outcome:
    """Flipped bits, cut files and worse, anywhere: each is found, the file is named, and the one before is used."""
    folder = sample.new("damage") / "checkpoints"
    states = _save_two(folder, sample.run / "tokenizer")
    newest, older = folder / "step-00000020", folder / "step-00000010"
    files, other = read(newest), read(older)
    randoms, faults, kinds = random.Random(11), [], Counter[str]()
    for number in range(DAMAGES):
        names, kind = spoil(newest, files, other, randoms)
        kinds[kind] += 1
        if wrong := _not_found(folder, names, states[10]):
            faults.append(f"damage {number}, {kind} in {', '.join(sorted(names))}: {wrong}")
        shutil.rmtree(newest, ignore_errors=True)
        _write(newest, files)
    whole = load_newest(folder, lambda line: faults.append(f"undamaged: {line}"))
    if whole is None or not _same(whole, states[20]):
        faults.append("the undamaged one is not used")
    told = f"{DAMAGES - len(faults):,} of {DAMAGES:,}"
    return Outcome(f"random damages of {len(kinds)} kinds to {len(files)} files", told, "all", faults)


def _not_found(folder: Path, names: set[str], wanted: TrainingState) -> str:
    """What is wrong with how a damage to one of these files is taken; nothing where all is well."""
    lines: list[str] = []
    try:
        found = load_newest(folder, lines.append)
    except Exception as error:  # whatever the reader of a file says that nobody had looked at before
        return f"not found, but {error!r:.100}"
    if found is None or not _same(found, wanted):
        return "not found"
    # A damaged manifest may name a file that is not there; every other damage is at the file it names.
    named = len(lines) == 1 and ("manifest.json" in names or any(name in lines[0] for name in names))
    going_on = named and lines[0].endswith(f"; going on from step-{wanted.step:08d}")
    return "" if going_on else f"not named, but {lines}"


def _save_two(folder: Path, tokenizer: Path) -> dict[int, TrainingState]:
    config = GPT(layers=1, dim=8, heads=1).config(vocab_size=60, max_length=8)
    states = {}
    for step in (10, 20):
        model = Transformer(config)
        model.initialise(step)
        weights = {name: weight.detach() for name, weight in model.named_parameters()}
        moments = {number: {"mean": weight * 0.5, "step": step} for number, weight in enumerate(weights.values())}
        groups = [{"lr": 0.1 * step, "params": list(moments)}]
        states[step] = TrainingState(step, 100 * step, weights, {"state": moments, "param_groups": groups})
        save_checkpoint(folder, states[step], config, tokenizer=tokenizer)
    return states


def _same(found: TrainingState, wanted: TrainingState) -> bool:
    weights = all(torch.equal(found.weights[name], weight) for name, weight in wanted.weights.items())
    moments = all(
        torch.equal(found.optimizer["state"][number]["mean"], values["mean"])
        for number, values in wanted.optimizer["state"].items()
    )
    return weights and moments and (found.step, found.tokens) == (wanted.step, wanted.tokens)


def read(path: Path) -> Files:
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def _write(path: Path, files: Files) -> None:
    (path / "training").mkdir(parents=True)
    for name, data in files.items():
        (path / name).write_bytes(data)


def spoil(path: Path, files: Files, other: Files, randoms: random.Random) -> tuple[set[str], str]:
    """Damage a checkpoint; the files that may be named for it, and what was done."""
    name, kind = randoms.choice(list(files)), randoms.choice(KINDS)
    (path / name).write_bytes(_spoilt(files[name], kind, randoms))
    if kind == "delete":
        (path / name).unlink()
    elif kind == "older":  # the file of the checkpoint before; all of them where it is the same
        same = other[name] == files[name]
        for each in files if same else [name]:
            (path / each).write_bytes(other[each])
        return {"training/state.json"} if same else {name}, kind
    elif kind == "swap":
        second = randoms.choice([each for each in files if files[each] != files[name]])
        (path / name).write_bytes(files[second])
        (path / second).write_bytes(files[name])
        return {name, second}, kind
    return {name}, kind


def _spoilt(whole: bytes, kind: str, randoms: random.Random) -> bytes:
    data = bytearray(whole)
    place = randoms.randrange(len(data))
    if kind == "flip":
        data[place] ^= 1 << randoms.randrange(8)
    elif kind == "cut":
        del data[place:]
    elif kind == "append":
        data += randoms.randbytes(randoms.randint(1, 600))
    elif kind == "hole":
        del data[place : place + randoms.randint(1, 600)]
    elif kind == "zero":  # what a file system may leave of a block after the power failed
        data[place:] = bytes(len(data) - place) if any(data[place:]) else b"\1" * (len(data) - place)
    return bytes(data)

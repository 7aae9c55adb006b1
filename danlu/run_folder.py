"""A run folder: which stage is done, what it was made from, and who is working in it.

``runs/<name>/<stage>/`` is one folder a stage. ``begun.json`` says what is being worked from;
``ran.json`` is written when all output is there, and ``done.json``, which has its hashes too, last.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from danlu import __version__
from danlu.differences import differences, first_difference
from danlu.files import (
    atomic_write,
    hash_file,
    hash_input,
    held,
    make_folder,
    read_json,
    remove_partial,
    sync_file,
    sync_folder,
    write_json,
    writing,
)
from danlu.recipe import Recipe
from danlu.stage import Figures, recorded, stage_of

Changed = Literal["refuse", "restart", "go-on"]
"""What becomes of a half-done stage whose settings or inputs have changed since it began."""

BEGUN, RAN, DONE = "begun.json", "ran.json", "done.json"

READ_BY_NO_STAGE = ("metrics.jsonl", "tensorboard", "checkpoints", "drafts")
"""Times of day and paces, which are for people, and what a stage itself goes on from: they decide nothing."""


@dataclass(frozen=True)
class RunFolder:
    """``runs/<name>``; everything here is plain files."""

    path: Path

    def stage(self, name: str) -> Path:
        return self.path / name

    def done(self, name: str) -> dict[str, Any] | None:
        """The stage's ``done.json``; None where it has not finished or the file is damaged."""
        done = read_json(self.stage(name) / DONE)
        whole = done is not None and all(isinstance(done.get(key), dict) for key in ("made_from", "outputs", "figures"))
        return done if whole else None

    def figures(self, name: str) -> Figures:
        """What the stage reported; empty where it has not finished."""
        return dict((self.done(name) or {}).get("figures", {}))

    def digest(self, name: str) -> str:
        """The hash of the hashes of all that the stage wrote: a fingerprint of its output."""
        return _digest((self.done(name) or {}).get("outputs"))

    def outside(self, recipe: Recipe, name: str) -> list[list[str]]:
        """The files outside that the stage reads, each with its hash."""
        return [[str(path), hash_input(path, of=name)] for path in stage_of(recipe, name).external_files()]

    def made_from(self, recipe: Recipe, name: str, outside: list[list[str]] | None = None) -> dict[str, Any]:
        """Everything that decides the stage's output: version, seed, settings, inputs, files ``outside``."""
        stage = stage_of(recipe, name)
        hashes = self.outside(recipe, name) if outside is None else outside
        version = {"version": stage.version} if stage.version else {}
        known = {"danlu": __version__, **version, "sources": _digest([*hashes, *stage.external_stamps()])}
        return as_json({**known, **self._made_inside_from(recipe, name)})

    def _made_inside_from(self, recipe: Recipe, name: str) -> dict[str, Any]:
        """The part of :meth:`made_from` that the recipe and the run folder hold."""
        stage = stage_of(recipe, name)
        figures = {want: self.current(recipe, want) for want in stage.wants}
        return {
            "seed": recipe.seed,
            "settings": recorded(stage),
            "inputs": {need: self.digest(need) for need in stage.needed()},
            **({"figures": figures} if figures else {}),
        }

    def current(self, recipe: Recipe, name: str) -> Figures:
        """What the stage reported, where it is done with this recipe and on what lies here now; empty elsewhere.

        Files outside the run folder are not looked at, so that this holds where the raw text is not.
        """
        done = self.done(name)
        if done is None or name not in recipe.sections:
            return {}
        now = as_json(self._made_inside_from(recipe, name))
        same = {part: done["made_from"].get(part) for part in now} == now
        return dict(done["figures"]) if same else {}

    def damaged(self, name: str) -> Path | None:
        """The first output of a finished stage that is no longer what the stage wrote."""
        folder = self.stage(name)
        outputs: dict[str, str] = (self.done(name) or {"outputs": {}})["outputs"]
        wrong = (
            folder / file
            for file, digest in outputs.items()
            if not (folder / file).is_file() or hash_file(folder / file) != digest
        )
        return next(wrong, None)

    def why_run(self, name: str, made_from: Mapping[str, Any]) -> str | None:
        """Why the stage has to run, in a few words; None where its output is whole and up to date."""
        done = self.done(name)
        if done is None:
            return "not done yet"
        was: dict[str, Any] = done["made_from"]
        if was != made_from:
            return f"{first_difference(was, made_from, name)} changed"
        damaged = self.damaged(name)
        return f"{damaged} is missing or damaged" if damaged else None

    def record(
        self, recipe: Recipe, name: str, made_from: Mapping[str, Any], outside: list[list[str]]
    ) -> dict[str, Any]:
        """What ``begun.json`` holds: enough to say later, file by file, what has changed since."""
        files = {need: (self.done(need) or {}).get("outputs") for need in stage_of(recipe, name).needed()}
        return {"made_from": made_from, "files": files, "outside": dict(outside)}

    def changes(self, recipe: Recipe, name: str, now: Mapping[str, Any], *, fresh: Iterable[str] = ()) -> list[str]:
        """What differs from the record that the half-done stage began with; ``fresh`` stages are not looked at."""
        was = read_json(self.stage(name) / BEGUN) or {}
        if not all(isinstance(was.get(key), dict) for key in ("made_from", "files")):
            return [f"{self.stage(name) / 'begun.json'} is missing or damaged"]
        unseen = set(fresh)
        files = {need: listed for need, listed in now["files"].items() if need not in unseen}
        return differences(was, {**now, "files": files}, name, neutral=stage_of(recipe, name).neutral)

    def begin(self, name: str, record: Mapping[str, Any], *, resumable: bool, go_on: bool) -> Path | None:
        """Make the stage's folder ready; ``go_on`` leaves a half-done one as it is where the stage is ``resumable``.

        A finished folder, and a half-done one of a resumable stage, is moved to ``previous/``; any other
        half-done one is deleted. Where one was moved, it is now at the path that comes back.
        """
        folder, former = self.stage(name), None
        finished = (folder / DONE).exists()
        if folder.exists() and (finished or not resumable or not go_on):
            if finished or resumable:
                former = self._former(name)
                folder.rename(former)
            else:
                shutil.rmtree(folder)
        make_folder(folder)
        (folder / RAN).unlink(missing_ok=True)  # what it says holds no longer from here on
        write_json(folder / BEGUN, record)
        return former

    def withdraw(self, name: str, *, begun: bytes | None, former: Path | None, notes: Collection[str]) -> None:
        """Undo :meth:`begin` of a stage that was refused before it did anything: what was there is there again.

        Args:
            begun: what ``begun.json`` held before; None where there was none.
            former: what :meth:`begin` has moved.
            notes: names of files that a stage writes before it does anything.
        """
        folder = self.stage(name)
        files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
        if all(path.name in (BEGUN, *notes) for path in files):
            shutil.rmtree(folder)
            if former is not None:
                former.rename(folder)
                if not any(former.parent.iterdir()):
                    former.parent.rmdir()
        elif begun is not None and former is None:
            atomic_write(folder / BEGUN, begun)

    def begun(self, name: str) -> bytes | None:
        """What ``begun.json`` holds; None where there is none."""
        path = self.stage(name) / BEGUN
        return path.read_bytes() if path.exists() else None

    def _former(self, name: str) -> Path:
        """A free place in ``previous/``; nothing there is ever overwritten."""
        previous = self.path / "previous"
        previous.mkdir(exist_ok=True)
        number = 1
        while (previous / f"{name}-{number}").exists():
            number += 1
        return previous / f"{name}-{number}"

    def returned(
        self,
        name: str,
        made_from: Mapping[str, Any],
        figures: Figures,
        seconds: float,
        environment: Mapping[str, Any] | None = None,
    ) -> None:
        """Write ``ran.json``: from here on all that is left to do is :meth:`finish`, also after a kill.

        ``environment`` is what it ran on: the process that finished it, where several worked on it.
        """
        folder = self.stage(name)
        outputs = list(_outputs(folder))
        for path in outputs:  # a machine that goes down now must not leave less than ran.json promises
            sync_file(path)
        for each in {path.parent for path in outputs}:
            sync_folder(each)
        ran = {
            "stage": name,
            "seconds": round(seconds, 3),
            "figures": figures,
            "made_from": made_from,
            "environment": environment,
        }
        write_json(folder / RAN, ran)

    def ran(self, name: str, made_from: Mapping[str, Any]) -> bool:
        """Whether all output is there, made from just this, and only :meth:`finish` is left to do."""
        folder = self.stage(name)
        ran = None if (folder / DONE).exists() else read_json(folder / RAN)
        return ran is not None and ran.get("made_from") == made_from

    def finish(self, name: str) -> None:
        """Write ``done.json``, of what :meth:`returned` wrote: the stage is skipped while nothing changes."""
        folder = self.stage(name)
        ran = read_json(folder / RAN)
        assert ran is not None, "its output is there"
        remove_partial(list(folder.rglob(".*")))
        outputs = {path.relative_to(folder).as_posix(): hash_file(path) for path in sorted(_outputs(folder))}
        write_json(folder / DONE, {**ran, "outputs": outputs})
        # Only now: a process that is killed before this line must find its half-done folder again.
        for mark in (RAN, BEGUN):
            (folder / mark).unlink(missing_ok=True)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for this process; the lock goes with the process, however it ends.

        Raises:
            RunLockedError: another process holds it.
            OutputError: the folder cannot be written.
        """
        with writing(self.path):
            make_folder(self.path)
        with held(self.path / ".lock", of=self.path, otherwise="choose another folder with run_dir=…"):
            yield


def _outputs(folder: Path) -> Iterator[Path]:
    """The files of a stage that others may read: not its own marks, not what no stage reads."""
    for path in folder.rglob("*"):
        inside = path.relative_to(folder)
        hidden = any(part.startswith(".") or part in READ_BY_NO_STAGE for part in inside.parts)
        if path.is_file() and not hidden and inside.as_posix() not in (BEGUN, RAN, DONE):
            yield path


def as_json(value: dict[str, Any]) -> dict[str, Any]:
    """The value as it comes back from a JSON file, so that it compares equal to one that was written."""
    same: dict[str, Any] = json.loads(json.dumps(value))
    return same


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()

"""A run folder: which stage is done, what it was made from, and who is working in it.

``runs/<name>/<stage>/`` is one folder a stage. ``begun.json`` says what is being worked from;
``done.json``, written last, what the output was made from, its hashes and the figures.
A stage whose settings or inputs have changed runs again; its former output moves to ``previous/``.
Where that would set aside work that is half done, it is refused, unless told otherwise.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from danlu import __version__
from danlu.differences import differences, first_difference, listed
from danlu.errors import CheckpointError, InputError, RecipeError
from danlu.files import atomic_write, hash_file, hash_input, held, make_folder, read_json, write_json, writing
from danlu.machine import environment
from danlu.recipe import Recipe, Settings, plain

Figures = dict[str, Any]
"""A flat table of names and numbers (or strings) that a stage reports."""

Changed = Literal["refuse", "restart", "go-on"]
"""What becomes of a half-done stage whose settings or inputs have changed since it began."""

READ_BY_NO_STAGE = ("metrics.jsonl", "tensorboard", "checkpoints")
"""Times of day and paces, which are for people, and what a stage itself goes on from: they decide nothing."""


@dataclass(frozen=True)
class Job:
    """What a stage is given: the recipe, the folders of the stages that it needs, its own folder."""

    recipe: Recipe
    inputs: Mapping[str, Path]
    out: Path

    @property
    def seed(self) -> int:
        return self.recipe.seed


class Stage(Settings):
    """A section of the recipe that does something: folders in, one folder out."""

    needs: ClassVar[tuple[str, ...]] = ()
    """Stages whose folders it reads; a change there runs it again."""
    wants: ClassVar[tuple[str, ...]] = ()
    """Stages before it whose figures it reads where they are done (:meth:`RunFolder.current`); it does without them."""
    resumable: ClassVar[bool] = False
    """Whether it can go on in a half-filled folder of its own; others start from an empty one."""
    together: ClassVar[bool] = False
    """Whether all processes that a launcher has started run it, for it trains."""
    neutral: ClassVar[tuple[str, ...]] = ()
    """Settings that change nothing in the result: with others a half-done stage goes on."""
    unrecorded: ClassVar[tuple[str, ...]] = ()
    """Keys of where it runs (``hardware.mesh``, ``sources.*.cache``), which no output is told apart by."""

    def within(self, recipe: Recipe) -> Stage:
        """What runs for this section: itself, or one that has the settings of other sections too."""
        return self

    def needed(self) -> tuple[str, ...]:
        """Stages whose folders it reads with these settings."""
        return self.needs

    def progress(self, out: Path) -> str | None:
        """What a half-done folder holds that would be lost by starting again, in words; None where nothing."""
        return None

    def external_files(self) -> list[Path]:
        """Files outside the run folder that it reads; their content is part of its fingerprint."""
        return []

    def external_stamps(self) -> list[list[str]]:
        """What it reads elsewhere and cannot hash: names, each with what tells its versions apart."""
        return []

    def run(self, job: Job) -> Figures:
        """Fill ``job.out`` and return the figures."""
        raise NotImplementedError(type(self).__name__)


@dataclass(frozen=True)
class RunFolder:
    """``runs/<name>``; everything here is plain files."""

    path: Path

    def stage(self, name: str) -> Path:
        return self.path / name

    def done(self, name: str) -> dict[str, Any] | None:
        """The stage's ``done.json``; None where it has not finished or the file is damaged."""
        done = read_json(self.stage(name) / "done.json")
        whole = done is not None and all(isinstance(done.get(key), dict) for key in ("made_from", "outputs", "figures"))
        return done if whole else None

    def figures(self, name: str) -> Figures:
        """What the stage reported; empty where it has not finished."""
        return dict((self.done(name) or {}).get("figures", {}))

    def digest(self, name: str) -> str:
        """The hash of the hashes of all that the stage wrote: a fingerprint of its output."""
        return _digest((self.done(name) or {}).get("outputs"))

    def made_from(self, recipe: Recipe, name: str) -> dict[str, Any]:
        """Everything that decides the stage's output: version, seed, settings, inputs, files outside."""
        stage = stage_of(recipe, name)
        hashes = [[str(path), hash_input(path, of=name)] for path in stage.external_files()]
        known = {"danlu": __version__, "sources": _digest([*hashes, *stage.external_stamps()])}
        return _as_json({**known, **self._made_inside_from(recipe, name)})

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
        now = _as_json(self._made_inside_from(recipe, name))
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

    def record(self, recipe: Recipe, name: str, made_from: Mapping[str, Any]) -> dict[str, Any]:
        """What ``begun.json`` holds: enough to say later, file by file, what has changed since."""
        needs = stage_of(recipe, name).needed()
        return {"made_from": made_from, "files": {need: (self.done(need) or {}).get("outputs") for need in needs}}

    def changes(self, recipe: Recipe, name: str, now: Mapping[str, Any], *, fresh: Iterable[str] = ()) -> list[str]:
        """What differs from the record that the half-done stage began with; ``fresh`` stages are not looked at."""
        was = read_json(self.stage(name) / "begun.json") or {}
        if not all(isinstance(was.get(key), dict) for key in ("made_from", "files")):
            return [f"{self.stage(name) / 'begun.json'} is missing or damaged"]
        unseen = set(fresh)
        files = {need: listed for need, listed in now["files"].items() if need not in unseen}
        return differences(was, {**now, "files": files}, name, neutral=stage_of(recipe, name).neutral)

    def begin(self, name: str, record: Mapping[str, Any], *, resumable: bool, go_on: bool) -> Path:
        """Make the stage's folder ready; ``go_on`` leaves a half-done one as it is where the stage is ``resumable``.

        A finished folder, and a half-done one of a resumable stage, is moved to ``previous/``; any other
        half-done one is deleted.
        """
        folder = self.stage(name)
        finished = (folder / "done.json").exists()
        if folder.exists() and (finished or not resumable or not go_on):
            if finished or resumable:
                folder.rename(self._former(name))
            else:
                shutil.rmtree(folder)
        make_folder(folder)
        write_json(folder / "begun.json", record)
        return folder

    def _former(self, name: str) -> Path:
        """A free place in ``previous/``; nothing there is ever overwritten."""
        previous = self.path / "previous"
        previous.mkdir(exist_ok=True)
        number = 1
        while (previous / f"{name}-{number}").exists():
            number += 1
        return previous / f"{name}-{number}"

    def finish(
        self,
        name: str,
        made_from: Mapping[str, Any],
        figures: Figures,
        seconds: float,
        environment: Mapping[str, Any] | None = None,
    ) -> None:
        """Write ``done.json``: from here on the stage is skipped while nothing changes.

        ``environment`` is what it ran on: the process that finished it, where several worked on it.
        """
        folder = self.stage(name)
        outputs = {path.relative_to(folder).as_posix(): hash_file(path) for path in sorted(_outputs(folder))}
        done = {
            "stage": name,
            "seconds": round(seconds, 3),
            "figures": figures,
            "made_from": made_from,
            "outputs": outputs,
            "environment": environment,
        }
        write_json(folder / "done.json", done)
        # Only now: a process that is killed before this line must find its half-done folder again.
        (folder / "begun.json").unlink(missing_ok=True)

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


def run_stages(
    recipe: Recipe,
    stages: Iterable[str],
    say: Callable[[str], None] = print,
    *,
    begin: Callable[[str], None] = print,
    changed: Changed = "refuse",
) -> RunFolder:
    """Run ``stages`` in order in the recipe's folder, skipping those that are done.

    ``say`` gets a line a skipped or finished stage, ``begin`` the name of each that starts. A half-done stage
    with something to lose whose settings or inputs have ``changed`` is refused; or it begins anew and the
    half-done is kept in ``previous/`` (restart), or it goes on from there with what is new (go-on).

    Raises:
        RecipeError: the recipe lacks a section that one of them needs.
        InputError: a file that a stage reads is missing, or a stage before it has not run with this recipe.
        CheckpointError: a half-done stage is refused.
    """
    folder, todo = RunFolder(recipe.run_dir), list(stages)
    for name in todo:
        for path in stage_of(recipe, name).external_files():  # a missing one is told before anything is written
            if not path.exists():
                raise InputError(f"{name}: there is no file {path}")
    here = environment()
    with folder.lock():
        for place, name in enumerate(todo):
            _check_needs(folder, recipe, name, fresh=todo[:place])
            with writing(folder.path):
                if place == 0:  # a command that is refused leaves no trace
                    for later, half_done in enumerate(todo):
                        _check_half_done(folder, recipe, half_done, changed, fresh=todo[:later])
                    atomic_write(folder.path / "recipe.yaml", recipe.to_yaml().encode())
                    write_json(folder.path / "env.json", here)
                _check_half_done(folder, recipe, name, changed)
                _run_stage(folder, recipe, name, here, say=say, begin=begin, go_on=changed == "go-on")
    return folder


def _check_half_done(
    folder: RunFolder, recipe: Recipe, name: str, changed: Changed, *, fresh: Iterable[str] = ()
) -> None:
    """Refuse to set aside what a half-done stage has done; ``fresh`` stages have still to run."""
    stage, out = stage_of(recipe, name), folder.stage(name)
    done = stage.progress(out) if changed == "refuse" and stage.resumable and not (out / "done.json").exists() else None
    if done is None:
        return
    record = folder.record(recipe, name, folder.made_from(recipe, name))
    if found := folder.changes(recipe, name, record, fresh=fresh):
        raise CheckpointError(
            f"{name} is half done ({done}), and since it began: {listed(found)}; --changed restart begins anew and "
            f"keeps that in {folder.path / 'previous'}, --changed go-on goes on from it with what is new"
        )


def _run_stage(
    folder: RunFolder,
    recipe: Recipe,
    name: str,
    here: Mapping[str, Any],
    *,
    say: Callable[[str], None],
    begin: Callable[[str], None],
    go_on: bool,
) -> None:
    stage = stage_of(recipe, name)
    made_from = folder.made_from(recipe, name)
    why = folder.why_run(name, made_from)
    if why is None:
        say(f"{name}: unchanged, skipped")
        return
    if folder.done(name) is not None:
        say(f"{name}: {why}; it runs again, and its former output is kept in {folder.path / 'previous'}")
    begin(name)
    started = time.perf_counter()
    record = folder.record(recipe, name, made_from)
    go_on = go_on or not folder.changes(recipe, name, record)
    out = folder.begin(name, record, resumable=stage.resumable, go_on=go_on)
    figures = stage.run(Job(recipe, {need: folder.stage(need) for need in stage.needed()}, out))
    seconds = time.perf_counter() - started
    folder.finish(name, made_from, figures, seconds, here)
    say(f"{name}: done in {seconds:.1f} s")


def _check_needs(folder: RunFolder, recipe: Recipe, name: str, *, fresh: Iterable[str]) -> None:
    """Refuse to build on outputs that are not there, were made with other settings, or are damaged.

    ``fresh`` stages have just run or been checked. Files outside the run folder are not looked at
    here, so that a run can go on where the raw text is not.
    """
    known = set(fresh)
    for need in _before(recipe, name):
        if need in known:
            continue
        done, settings = folder.done(need), _as_json(recorded(stage_of(recipe, need)))
        remedy = f"run 'danlu {need}' first, or 'danlu run'"
        if done is None:
            raise InputError(f"{name} needs the output of {need}; {remedy}")
        if (done["made_from"].get("settings"), done["made_from"].get("seed")) != (settings, recipe.seed):
            different = first_difference(
                done["made_from"], {**done["made_from"], "settings": settings, "seed": recipe.seed}, need
            )
            raise InputError(f"{name} needs the output of {need}, but {different} changed since {need} ran; {remedy}")
        if need in stage_of(recipe, name).needed() and (damaged := folder.damaged(need)):
            raise InputError(f"{damaged} is missing or damaged; {remedy}")


def _before(recipe: Recipe, name: str) -> list[str]:
    """All that ``name`` is built on, those first that come first."""
    order: list[str] = []
    for need in stage_of(recipe, name).needed():
        if need not in recipe.sections:
            raise RecipeError(f"{name} needs the section {need!r}, which the recipe lacks")
        order += [earlier for earlier in [*_before(recipe, need), need] if earlier not in order]
    return order


def recorded(stage: Stage) -> dict[str, Any]:
    """The settings that an output is made from."""
    settings = plain(stage)
    for key in stage.unrecorded:
        *sections, name = key.split(".")
        found: list[Any] = [settings]
        for section in sections:
            found = [inner for each in found for inner in (each if section == "*" else [each[section]])]
        for inner in (each for each in found if isinstance(each, dict)):  # a choice without settings is its name
            inner.pop(name, None)
    return settings


def stage_of(recipe: Recipe, name: str) -> Stage:
    """What runs for a section."""
    section = recipe.section(name)
    assert isinstance(section, Stage)
    return section.within(recipe)


def _outputs(folder: Path) -> Iterator[Path]:
    """The files of a stage that others may read: not its own marks, not what no stage reads."""
    for path in folder.rglob("*"):
        inside = path.relative_to(folder)
        hidden = any(part.startswith(".") or part in READ_BY_NO_STAGE for part in inside.parts)
        if path.is_file() and not hidden and inside.as_posix() not in ("done.json", "begun.json"):
            yield path


def _as_json(value: dict[str, Any]) -> dict[str, Any]:
    """The value as it comes back from a JSON file, so that it compares equal to one that was written."""
    same: dict[str, Any] = json.loads(json.dumps(value))
    return same


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()

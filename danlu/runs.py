"""Running stages: in order, skipping those that are done.

A stage whose settings or inputs have changed runs again; its former output moves to ``previous/``.
Where that would set aside work that is half done, it is refused, unless told otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from danlu.differences import first_difference, listed
from danlu.errors import CheckpointError, InputError, OutOfMemoryError, RecipeError
from danlu.files import atomic_write, remove_partial, write_json, writing
from danlu.machine import environment
from danlu.recipe import Recipe
from danlu.run_folder import DONE, Changed, RunFolder, as_json
from danlu.stage import Job, recorded, stage_of


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
        OutOfMemoryError: the system refuses memory.
    """
    folder, todo = RunFolder(recipe.run_dir), list(stages)
    with ExitStack() as looking:
        for name in todo:
            looking.enter_context(stage_of(recipe, name).looking())
        _run_all(folder, recipe, todo, say=say, begin=begin, changed=changed)
    return folder


def _run_all(
    folder: RunFolder,
    recipe: Recipe,
    todo: Sequence[str],
    *,
    say: Callable[[str], None],
    begin: Callable[[str], None],
    changed: Changed,
) -> None:
    """What :func:`run_stages` does, with files outside listed once."""
    for name in todo:
        for path in stage_of(recipe, name).external_files():  # a missing one is told before anything is written
            if not path.exists():
                raise InputError(f"{name}: there is no file {path}")
    here = environment()
    with folder.lock():
        for place, name in enumerate(todo):
            _check_needs(folder, recipe, name, fresh=todo[:place])
            with writing(folder.path), _room_in_memory(recipe, name):
                if place == 0:  # a command that is refused leaves no trace
                    remove_partial(list(folder.path.iterdir()))
                    for later, half_done in enumerate(todo):
                        _check_half_done(folder, recipe, half_done, changed, fresh=todo[:later])
                    atomic_write(folder.path / "recipe.yaml", recipe.to_yaml().encode())
                    write_json(folder.path / "env.json", here)
                _check_half_done(folder, recipe, name, changed)
                _run_stage(folder, recipe, name, here, say=say, begin=begin, go_on=changed == "go-on")


@contextmanager
def _room_in_memory(recipe: Recipe, name: str) -> Iterator[None]:
    """Turn a refusal of memory into one clear line.

    Raises:
        OutOfMemoryError: the system has refused it.
    """
    try:
        yield
    except MemoryError as error:
        workers = hasattr(stage_of(recipe, name), "workers")
        todo = f"choose fewer {name}.workers, or give it more" if workers else "give it more"
        why = f" ({error})" if str(error) else ""
        raise OutOfMemoryError(
            f"{name}: the memory that a process may use is used up{why}: {todo}; the same command goes on from here"
        ) from error


def _check_half_done(
    folder: RunFolder, recipe: Recipe, name: str, changed: Changed, *, fresh: Iterable[str] = ()
) -> None:
    """Refuse to set aside what a half-done stage has done; ``fresh`` stages have still to run."""
    stage, out = stage_of(recipe, name), folder.stage(name)
    done = stage.progress(out) if changed == "refuse" and stage.resumable and not (out / "done.json").exists() else None
    if done is None:
        return
    outside = folder.outside(recipe, name)
    record = folder.record(recipe, name, folder.made_from(recipe, name, outside), outside)
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
    stage, out = stage_of(recipe, name), folder.stage(name)
    outside = folder.outside(recipe, name)
    made_from = folder.made_from(recipe, name, outside)
    if (out / DONE).exists():
        stage.tidy(out)  # a kill may have come before it
    why = folder.why_run(name, made_from)
    if why is None:
        say(f"{name}: unchanged, skipped")
        return
    started = time.perf_counter()
    if folder.ran(name, made_from):
        say(f"{name}: the last run was stopped when all was there; it is only finished")
    else:
        if folder.done(name) is not None:
            say(f"{name}: {why}; it runs again, and its former output is kept in {folder.path / 'previous'}")
        begin(name)
        record = folder.record(recipe, name, made_from, outside)
        go_on = go_on or not folder.changes(recipe, name, record)
        begun = folder.begun(name)
        former = folder.begin(name, record, resumable=stage.resumable, go_on=go_on)
        progress = stage.progress(out)
        try:
            figures = stage.run(Job(recipe, {need: folder.stage(need) for need in stage.needed()}, out))
        except (RecipeError, InputError, CheckpointError):  # a stage that is refused leaves no trace
            if stage.progress(out) == progress:
                folder.withdraw(name, begun=begun, former=former, notes=stage.notes)
            raise
        folder.returned(name, made_from, figures, time.perf_counter() - started, here)
    folder.finish(name)
    stage.tidy(out)
    say(f"{name}: done in {time.perf_counter() - started:.1f} s")


def _check_needs(folder: RunFolder, recipe: Recipe, name: str, *, fresh: Iterable[str]) -> None:
    """Refuse to build on outputs that are not there, were made with other settings, or are damaged.

    ``fresh`` stages have just run or been checked. Files outside the run folder are not looked at
    here, so that a run can go on where the raw text is not.
    """
    known = set(fresh)
    for need in _before(recipe, name):
        if need in known:
            continue
        done, settings = folder.done(need), as_json(recorded(stage_of(recipe, need)))
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

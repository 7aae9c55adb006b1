"""What a stage is: a section of the recipe that reads folders and fills one of its own."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from danlu.recipe import Recipe, Settings, plain

Figures = dict[str, Any]
"""A flat table of names and numbers (or strings) that a stage reports."""


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
    notes: ClassVar[tuple[str, ...]] = ()
    """Names of files that it writes of what it reads, before it does anything: where it is refused, they go with it."""
    version: ClassVar[int] = 0
    """Counted up where the same settings and inputs come to something else than before: it is made again."""

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

    def looking(self) -> AbstractContextManager[None]:
        """For a ``with`` around all that asks for its files outside: they may be listed once for all of it."""
        return nullcontext()

    def run(self, job: Job) -> Figures:
        """Fill ``job.out`` and return the figures."""
        raise NotImplementedError(type(self).__name__)

    def tidy(self, out: Path) -> None:
        """Remove what only a half-done folder is of use with, which no output may be.

        Called once ``done.json`` is written, and again where a kill came before it was through.
        """


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

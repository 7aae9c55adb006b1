"""What a study varies: fine-tunings that differ in one thing, and what their figures together say."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from danlu.data.dataset import Dataset
from danlu.errors import InputError
from danlu.files import read_json, read_jsonl
from danlu.recipe import Choice
from danlu.stage import Figures
from danlu.tasks.task import Known, Task


@dataclass(frozen=True)
class Variation:
    """A fine-tuning of a study."""

    name: str
    """Of its folder."""
    seed: int
    dataset: Dataset[Any]
    about: Mapping[str, Any]
    """What it differs in, for tables."""
    longer: float = 1.0
    """Times the epochs of the recipe that it is trained for."""


@dataclass(frozen=True)
class Outcome:
    """A variation that is done, as its folder tells."""

    variation: Variation
    folder: Path

    @property
    def measured(self) -> list[str]:
        """The splits that it was measured on."""
        return [split for split in self.variation.dataset.splits if split != "train"]

    @cached_property
    def scored(self) -> dict[str, dict[str, Any]]:
        """What :func:`danlu.tasks.scores.score` found, by split."""
        return {split: _whole(self.folder / f"{split}.json") for split in self.measured}

    def figures(self) -> dict[str, float]:
        """Of all splits, but for those of single labels: ``test.accuracy``."""
        return {
            f"{split}.{name}": value
            for split, scored in self.scored.items()
            for name, value in scored["figures"].items()
            if not name.startswith("label.")
        }

    def lines(self, split: str) -> list[dict[str, Any]]:
        """Its predictions, an example of the split each, in their order."""
        return read_jsonl(self.folder / f"{split}.predictions.jsonl")

    def row(self) -> dict[str, Any]:
        """Its line in the table of variations."""
        examples = {split: len(each) for split, each in self.variation.dataset.splits.items()}
        return {"name": self.variation.name, **self.variation.about, "examples": examples, "figures": self.figures()}


@dataclass(frozen=True)
class Spread:
    """A figure of several variations."""

    mean: float
    std: float | None
    """Of a sample: the squares are divided by one less than there are; None of one variation, which tells nothing."""
    least: float
    greatest: float
    count: int
    """How many variations have the figure."""


@dataclass(frozen=True)
class Conclusion:
    """What a study has found."""

    says: list[str]
    """Lines for people."""
    figures: Figures
    details: Mapping[str, Any]
    """What ``study.json`` has beside the table of variations."""


@dataclass(frozen=True)
class Setting:
    """What all variations have in common."""

    task: Task
    known: Known
    """Of the first variation; what a metric looks at is the same in all."""
    seed: int
    out: Path
    """The folder of the study."""


class StudyKind(Choice):
    """A choice of what is varied. Subclasses say it."""

    def variations(self, dataset: Dataset[Any], *, seed: int, data_seed: int) -> list[Variation]:
        """The fine-tunings, in the order in which they run.

        Args:
            data_seed: that of the recipe's own split of the data.

        Raises:
            RecipeError, InputError: the data cannot be varied so.
        """
        raise NotImplementedError(type(self).__name__)

    def conclude(self, outcomes: Sequence[Outcome], setting: Setting) -> Conclusion:
        """What the variations say together."""
        raise NotImplementedError(type(self).__name__)


def spreads(outcomes: Sequence[Outcome]) -> dict[str, Spread]:
    """Of every figure that at least one of the variations has."""
    tables = [outcome.figures() for outcome in outcomes]
    names = dict.fromkeys(name for table in tables for name in table)
    return {name: spread([table[name] for table in tables if name in table]) for name in names}


def spread(values: Sequence[float]) -> Spread:
    """How these values spread."""
    found = np.asarray(values, np.float64)
    std = float(found.std(ddof=1)) if len(found) > 1 else None
    return Spread(float(found.mean()), std, float(found.min()), float(found.max()), len(found))


def spread_figures(found: Mapping[str, Spread], criterion: str) -> Figures:
    """Of the criterion on each split, for the table of a run."""
    return {
        f"{name}.{part}": round(value, 6)
        for name, each in found.items()
        if name.partition(".")[2] == criterion
        for part, value in asdict(each).items()
        if part != "count" and value is not None
    }


def in_words(name: str, found: Spread, of: str) -> str:
    """A line that says how a figure spreads."""
    if found.std is None:
        return f"{name} of one of the {of}: {found.mean:.4f}"
    return (f"{name} of {found.count} {of}: mean {found.mean:.4f}, standard deviation {found.std:.4f}, "
            f"from {found.least:.4f} to {found.greatest:.4f}")  # fmt: skip


def as_lines(lines: Sequence[Mapping[str, Any]]) -> bytes:
    """A line of JSON each."""
    return "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines).encode()


def _whole(path: Path) -> dict[str, Any]:
    found = read_json(path)
    if found is None:
        raise InputError(f"{path} is missing or damaged; delete its folder, and its variation is trained again")
    return found

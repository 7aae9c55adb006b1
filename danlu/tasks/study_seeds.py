"""Several seeds: the same data and settings, another head, order and dropout each time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pydantic import Field

from danlu.data.dataset import Dataset
from danlu.tasks.study_kind import Conclusion, Outcome, Setting, StudyKind, Variation, in_words, spread_figures, spreads

SEEDS = 2**32
"""There are so many."""


class Seeds(StudyKind):
    """Train with several seeds: how much of a figure is luck (Dodge et al. 2020, arXiv:2002.06305)."""

    count: int = Field(default=3, ge=2, le=1000)
    """Trainings: with the recipe's seed, and those that follow it."""

    def variations(self, dataset: Dataset[Any], *, seed: int, data_seed: int) -> list[Variation]:
        seeds = following(seed, self.count)
        return [Variation(f"seed-{each}", each, dataset, {"seed": each}) for each in seeds]

    def conclude(self, outcomes: Sequence[Outcome], setting: Setting) -> Conclusion:
        found, criterion = spreads(outcomes), setting.task.criterion
        says = [in_words(name, found[name], "seeds") for name in found if name.partition(".")[2] == criterion]
        return Conclusion(
            says, spread_figures(found, criterion), {"spread": {name: asdict(each) for name, each in found.items()}}
        )


def following(seed: int, count: int) -> list[int]:
    """``seed`` and those behind it; behind the last comes 0."""
    return [(seed + number) % SEEDS for number in range(count)]

"""What is to be rated, in which order and on which side: a study, and who is given what next.

Everything that chance decides follows from the seed: on which side a model's answer stands, so that each stands on
either equally often, and in which order a rater goes through the items.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

from danlu.errors import InputError
from danlu.rate.answers import Material
from danlu.rate.rubric import Rubric

CHOICES = ("first", "second", "both good", "both bad")
"""What can be said of a pair; ``first`` is the answer of the model whose file was named first."""
PREFERENCE = "preference"
"""The one criterion of pairs."""


class Item(NamedTuple):
    """What is rated at once: two models' answers to a prompt, or one. Numbers are places in the study's lists."""

    prompt: int
    first: int
    second: int | None
    flipped: bool
    """Whether raters of even number see the second answer first; those of odd number see it the other way round."""


@dataclass(frozen=True, slots=True)
class Study:
    """Models, prompts, answers, and how they are rated: by scores where there is a rubric, else in pairs."""

    material: Material
    rubric: Rubric | None
    raters: int
    """How many people rate each item."""
    seed: int

    @property
    def criteria(self) -> list[str]:
        return [PREFERENCE] if self.rubric is None else [criterion.name for criterion in self.rubric.criteria]


def plan(material: Material, rubric: Rubric | None, *, raters: int, seed: int) -> tuple[Study, list[Item]]:
    """The study, and its items: each pair of models for each prompt, or each answer.

    Raises:
        InputError: ``raters`` is below 1, or nothing can be compared.
    """
    if raters < 1:
        raise InputError(f"--raters must be at least 1; got {raters}")
    study = Study(material, rubric, raters, seed)
    prompts, models = range(len(material.prompts)), range(len(material.models))
    if rubric is not None:
        return study, [Item(prompt, model, None, False) for prompt in prompts for model in models]
    noise = random.Random(f"sides {seed}")
    items = []
    for first, second in combinations(models, 2):
        flipped = [place % 2 == 1 for place in prompts]
        noise.shuffle(flipped)
        items += [Item(prompt, first, second, flipped[prompt]) for prompt in prompts]
    if not items:
        raise InputError("one file has nothing to be compared with")
    return study, items


def is_swapped(item: Item, rater: int) -> bool:
    """Whether this rater sees the second model's answer on the left."""
    return item.second is not None and item.flipped == (rater % 2 == 0)


def order_of(rater: int, *, items: int, seed: int) -> list[int]:
    """The order in which a rater would go through the items, were all equally often rated."""
    order = list(range(items))
    random.Random(f"order {seed} {rater}").shuffle(order)
    return order


def choose(times: Sequence[int], mine: Collection[int], order: Sequence[int], *, most: int) -> int | None:
    """The item that a rater gets next: of those that are not theirs yet and still wanted, the least rated.

    Args:
        times: how often each item has been rated, or is being rated just now.
        mine: those that the rater has rated.
        order: which of equally often rated ones comes first.
        most: how often an item is rated.
    """
    wanted = [item for item in order if item not in mine and times[item] < most]
    return min(wanted, key=lambda item: times[item], default=None)

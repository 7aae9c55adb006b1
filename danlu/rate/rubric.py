"""What answers are scored by: a YAML file of criteria, each a question and a scale whose ends are named."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from danlu.errors import RecipeError
from danlu.recipe import Settings, build
from danlu.recipe_file import read_recipe

MOST_STEPS = 11
"""Buttons that fit beside each other on a phone."""


class Scale(Settings):
    """Whole numbers, and what the first and the last of them mean."""

    lowest: int = Field(default=1, ge=0)
    """The least that can be given."""
    worst: str = Field(min_length=1)
    """What the lowest number means, in a few words."""
    highest: int = Field(default=5, ge=1)
    """The most that can be given."""
    best: str = Field(min_length=1)
    """What the highest number means."""

    @model_validator(mode="after")
    def _steps(self) -> Scale:
        if not 2 <= self.highest - self.lowest + 1 <= MOST_STEPS:
            raise ValueError(f"from {self.lowest} to {self.highest} must be 2 to {MOST_STEPS} steps")
        return self

    def steps(self) -> range:
        """All numbers that can be given."""
        return range(self.lowest, self.highest + 1)


class Criterion(Settings):
    """One thing that is asked about every answer."""

    name: str = Field(min_length=1, max_length=60)
    """What the report calls it."""
    question: str = Field(min_length=1)
    """What raters are asked."""
    scale: Scale
    """What they can answer."""


class Rubric(Settings):
    """All that is asked about an answer."""

    criteria: list[Criterion] = Field(min_length=1)
    """The questions, in the order in which they are asked."""

    @model_validator(mode="after")
    def _names(self) -> Rubric:
        names = [criterion.name for criterion in self.criteria]
        if twice := next((name for place, name in enumerate(names) if name in names[:place]), None):
            raise ValueError(f"the name {twice!r} is there twice")
        return self


OVERALL = Rubric(
    criteria=[
        Criterion(
            name="overall",
            question="How good is this answer, all in all? 总的来说，这个回答怎么样？",
            scale=Scale(worst="of no use 毫无用处", best="nothing to add 无可挑剔"),
        )
    ]
)
"""What is asked of a single file of answers without a rubric."""


def read_rubric(path: Path) -> Rubric:
    """The rubric in a YAML file.

    Raises:
        RecipeError: there is no such file, a key is unknown, or a value is wrong: the key, the value, what would do.
    """
    try:
        return build(Rubric, read_recipe(path), key="")
    except RecipeError as error:
        text = str(error)
        prefix = "" if str(path) in text else f"{path}: "
        raise RecipeError(prefix + text.replace("no recipe at", "no rubric at")) from None

"""Mixtures of the text that follow each other: ``pretrain.mixture: {use: curriculum, periods: …}``."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Self

from pydantic import Field, SkipValidation, model_validator

from danlu.corpus.proportions import Proportions
from danlu.recipe import Choice, OneOf, Settings


class Period(Settings):
    """Some steps of a training, and what they read."""

    until: int | float | None = Field(default=None, gt=0)
    """Where it ends: a share of the steps below 1, or a number of steps. The last ends with the training: 1, or
    nothing."""
    mixture: Annotated[SkipValidation[Proportions], OneOf("proportions")]
    """How much of each part."""

    @model_validator(mode="after")
    def _ends_with_a_step(self) -> Self:
        if self.until is not None and self.until > 1 and self.until != int(self.until):
            raise ValueError(f"until must be below 1, or a whole number of steps; got {self.until:g}")
        return self

    @property
    def of_steps(self) -> bool:
        """Whether ``until`` is a share of the steps."""
        return self.until is not None and self.until < 1

    def end(self, steps: int | None) -> int:
        """The steps that are done when it ends, of so many in all."""
        assert self.until is not None
        if not self.of_steps:
            return int(self.until)
        assert steps is not None, "settings with shares of the steps have a budget that says how many"
        return round(self.until * steps)


class Curriculum(Choice):
    """Mixtures that follow each other, such as from much text to good text at the end."""

    periods: tuple[Period, ...] = Field(min_length=1)
    """One after the other; each takes the text up where the one before left off."""

    @model_validator(mode="after")
    def _follow_each_other(self) -> Self:
        for number, period in enumerate(self.periods):
            key, last = f"periods.{number}", number == len(self.periods) - 1
            if last and period.until not in (None, 1):
                raise ValueError(f"{key}.until must be 1, or left out, for the last period ends with the training; "
                                 f"got {period.until:g}")  # fmt: skip
            if not last and (period.until is None or period.until == 1):
                raise ValueError(f"{key}.until must be a share of the steps below 1, or a number of steps above 1; "
                                 f"got {'none' if period.until is None else 1}")  # fmt: skip
            if not period.mixture.open_ended and len(self.periods) > 1:
                raise ValueError(f"{key}.mixture: one of its parts must have a weight, to fill the period")
        for number, (before, after) in enumerate(pairwise(period.until for period in self.periods[:-1]), start=1):
            assert before is not None and after is not None
            if (before < 1) == (after < 1) and before >= after:
                raise ValueError(
                    f"periods.{number}.until must be above {before:g}, where the period before ends; got {after:g}"
                )
        return self

    @property
    def counted(self) -> bool:
        """Whether it has to know how many rows are read in all."""
        return any(period.of_steps or period.mixture.counted for period in self.periods)

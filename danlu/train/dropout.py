"""Dropout that changes with the step, and the source that it draws from: both are functions of the step alone.

Early dropout helps a model that cannot learn its text by heart to learn more of it, late dropout is the milder form of
the usual one (Liu et al. 2023, arXiv:2303.01500). What changes is a number that ``torch.compile`` builds in, so there
are few levels.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Protocol

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from danlu.errors import RecipeError
from danlu.recipe import Choice

Levels = Annotated[int, Field(ge=1, le=4)]
RATES = ("dropout", "out_dropout", "final_dropout", "layer_drop")
"""What the rates are called, in the model's settings and its modules."""


class DropoutScheduleChoice(Protocol):
    """Settings of a schedule of dropout."""

    def share(self, step: int, *, steps: int) -> float:
        """What the model's dropout is multiplied by, in [0, 1], at ``step`` of ``steps`` (counted from 0)."""
        ...


class EarlyDropout(Choice):
    """The model's dropout at first, none later."""

    until: float = Field(default=0.2, gt=0, lt=1)
    """Share of the steps after which there is none."""
    levels: Levels = 1
    """Equal steps down: 1 is all at once, more are nearer to a line."""

    def share(self, step: int, *, steps: int) -> float:
        done = step / (self.until * steps)
        return 1.0 - min(self.levels, int(done * self.levels)) / self.levels


class LateDropout(Choice):
    """None at first, the model's dropout later."""

    begin: float = Field(default=0.2, gt=0, lt=1)
    """Share of the steps after which it begins."""
    levels: Levels = 1
    """Equal steps up, evenly over the rest: 1 is all at once, more are nearer to a line."""

    def share(self, step: int, *, steps: int) -> float:
        done = (step - self.begin * steps) / ((1 - self.begin) * steps)
        return 0.0 if done < 0 else min(self.levels, int(done * self.levels) + 1) / self.levels


class Dropout:
    """The dropout of a model's modules: elements, whole rows of a block, whole layers."""

    def __init__(self, model: nn.Module) -> None:
        modules = list(model.modules())
        self._rates = [(module, name, getattr(module, name)) for module in modules for name in RATES
                       if isinstance(getattr(module, name, None), float)]  # fmt: skip
        kept = (getattr(module, "rows_kept", None) for module in modules)
        self._kept = [(share, float(share)) for share in kept if isinstance(share, Tensor)]

    @property
    def drops(self) -> bool:
        """Whether there is any, as this object was made."""
        return any(rate for *_, rate in self._rates) or any(share < 1.0 for _, share in self._kept)

    def scale(self, share: float) -> None:
        """Have every rate be this share of what it was when this object was made."""
        for module, name, rate in self._rates:
            setattr(module, name, rate * share)
        for kept, share_kept in self._kept:
            kept.fill_(1.0 - share * (1.0 - share_kept))


def dropout_of(model: nn.Module, schedule: DropoutScheduleChoice | None, *, section: str) -> Dropout:
    """That of ``model``, for ``schedule`` to change.

    Args:
        section: of the recipe, for the error.

    Raises:
        RecipeError: there is a schedule and nothing for it to change.
    """
    found = Dropout(model)
    if schedule is not None and not found.drops:
        raise RecipeError(f"{section}.dropout_schedule needs a model with dropout; this one has none")
    return found


def drops(settings: Any) -> bool:
    """Whether the model of a configuration has any dropout."""
    if isinstance(settings, tuple):
        return any(map(drops, settings))
    if not dataclasses.is_dataclass(settings):
        return False
    named = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    return any(bool(value) if name in (*RATES, "drop_path") else drops(value) for name, value in named.items())


def seed_step(seed: int, step: int, *, reader: int = 0) -> None:
    """Have what a step draws follow from its number, so that a resumed training draws what an undisturbed one does.

    Args:
        reader: of the processes that do different micro-batches of the step.
    """
    # The 3 keeps it apart from the sources of rows.
    torch.manual_seed(int(np.random.SeedSequence([seed, step, 3, reader]).generate_state(1, np.uint64)[0] >> 1))

"""How many steps a training has, and what it computes with: kept in ``plan.json``, so that a resumed run goes on alike.

Steps, tokens and epochs say it at once. Minutes are turned into steps by timing: a few steps before
the first one give a first number, and because the pace of a machine changes from minute to minute,
it is corrected at each share of ``CORRECTED_AT``. After the last one nothing depends on the clock.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from danlu.files import read_json, write_json
from danlu.machine import processor
from danlu.train.budget import Budget
from danlu.train.setup import Training

CORRECTED_AT = (0.3, 0.6, 0.85, 0.95)
"""Shares of the steps after which the number of steps of a budget in minutes is corrected."""


@dataclass(frozen=True, slots=True)
class Length:
    """Numbers of steps."""

    steps: int
    """In all, as known now."""
    settled: bool
    """Whether that is final."""
    spent: float = 0.0
    """Seconds of the budget that were used before the first step."""
    minutes: float | None = None
    """Of the budget that it is reckoned from; None where the recipe says the number of steps."""
    before: tuple[tuple[int, int], ...] = ()
    """Earlier numbers, each behind the step up to which it held."""
    setbacks: int = 0
    """How often the training has gone back to a checkpoint, since when it has a lower learning rate."""
    back_to: int | None = None
    """The step that it went back to last: checkpoints behind it that know of fewer setbacks are of no use."""
    training: str = ""
    """Which one has gone back (identity.py): with other settings none has yet. Empty where nobody has said."""

    @property
    def mark(self) -> int:
        """The step after which the number is corrected next."""
        latest = self.before[-1][0] if self.before else 0
        return max(latest + 1, round(CORRECTED_AT[len(self.before)] * self.steps))

    def schedule_steps(self, step: int) -> int:
        """The number of steps that the schedule knew at ``step``: the same however often the run was interrupted."""
        return next((steps for until, steps in self.before if step < until), self.steps)

    @property
    def begun_with(self) -> int:
        """The number that was known at the first step."""
        return self.schedule_steps(0)

    def correct(self, budget: Budget, *, pace: float | None, at_most: int | None) -> Length:
        """The number of steps at ``mark``, where one took ``pace`` seconds so far, held-out measurements included.

        Where nobody knows the pace any more, it is the number so far.
        """
        steps, before = self.steps, (*self.before, (self.mark, self.steps))
        if pace is not None:
            rest = budget.steps_in(pace, spent=self.spent + pace * self.mark)
            assert rest is not None, "only minutes need correction"
            steps = self.mark + rest
        if at_most is not None:
            steps = min(steps, at_most)
        corrected = replace(self, steps=steps, before=before)
        done = len(before) == len(CORRECTED_AT) or corrected.mark >= steps
        return replace(corrected, settled=done)

    def ended(self, step: int) -> Length:
        """The training ends after ``step``, earlier than was known; what the schedule did until then stays."""
        if step >= self.steps:
            return self
        return replace(self, steps=step, settled=True, before=(*self.before, (step, self.steps)))

    @property
    def ended_early(self) -> bool:
        """Whether :meth:`ended` has set the number."""
        return bool(self.before) and self.before[-1][0] == self.steps

    def heldout_steps(self, evaluations: int) -> frozenset[int]:
        """The steps after which the held-out loss is measured, evenly spread, the last one included."""
        marks: list[int] = []
        since = 0
        for until, steps in (*self.before, (self.steps, self.steps)):
            ahead = [since + step for step in _spread(steps - since, evaluations - len(marks))]
            marks += [step for step in ahead if since < step <= until]
            since = until
        return frozenset(marks)


def _spread(steps: int, count: int) -> list[int]:
    return [round(steps * number / count) for number in range(1, count + 1)]


def first_guess(steps: int, *, spent: float, minutes: float | None = None) -> Length:
    """A number of steps that the pace of the first of them will correct."""
    guess = Length(steps, settled=False, spent=spent, minutes=minutes)
    return replace(guess, settled=guess.mark >= steps)


def read_length(path: Path, *, minutes: float | None = None) -> Length | None:
    """What ``plan.json`` says; None where it is missing or damaged.

    Args:
        minutes: those of the recipe, which stand for those of an older plan: of a budget in minutes, as the seconds
            that timing it has spent show, it does not say how many they are.
    """
    try:
        known = (read_json(path) or {})["length"]
        if "minutes" not in known and known["spent"]:
            known["minutes"] = minutes
        return Length(**{**known, "before": tuple((until, steps) for until, steps in known["before"])})
    except (KeyError, TypeError, ValueError):
        return None


def write_length(path: Path, length: Length, arithmetic: dict[str, str]) -> None:
    """Write ``plan.json``; the ``arithmetic`` that stands there is that of the first process and stays, as all else."""
    write_json(path, {"arithmetic": arithmetic, **(read_json(path) or {}), "length": asdict(length)})


def arithmetic(training: Training) -> dict[str, str]:
    """What decides the last bits of the weights, beside settings, data and seed."""
    device = next(training.model.parameters()).device
    return {
        "number type": str(training.masters.dtype).removeprefix("torch."),
        "processes": str(training.masters.place),
        "compilation": "on" if training.compiled else "off",
        "attention": "in C++" if training.compiling.native else _attention(compiled=training.compiled),
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
        "processor": torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
    }


def _attention(*, compiled: bool) -> str:
    """Where it is computed in a training that does not ask for C++."""
    return "as compiled" if compiled else "in torch"


def what_differs(path: Path, now: dict[str, str]) -> str | None:
    """How this process computes otherwise than the one that began the run, in words; None where it does not."""
    before = (read_json(path) or {}).get("arithmetic")
    if not isinstance(before, dict) or before == now:
        return None
    before = {"attention": _attention(compiled=before.get("compilation") == "on"), **before}  # of older versions
    changes = (f"{name} {before[name]}, now {value}" for name, value in now.items() if before.get(name, value) != value)
    return ", ".join(changes) or None

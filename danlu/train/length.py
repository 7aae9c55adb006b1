"""How many steps a training has, and what it computes with: kept in ``plan.json``, so that a resumed run goes on alike.

Steps, tokens and epochs say it at once. Minutes are turned into steps by timing: a few steps before
the first one give a first number, and because the pace of a machine changes from minute to minute,
the steps of the first ``SETTLED_AFTER`` give the final one. From there on nothing depends on the clock.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from danlu.files import read_json, write_json
from danlu.machine import processor
from danlu.train.budget import Budget
from danlu.train.setup import Training

SETTLED_AFTER = 0.3
"""Share of the steps after which a budget in minutes is settled: the pace is known then, and the end still far."""


@dataclass(frozen=True, slots=True)
class Length:
    """Numbers of steps."""

    steps: int
    """In all, as known now."""
    settled: bool
    """Whether that is final."""
    spent: float = 0.0
    """Seconds of the budget that were used before the first step."""
    first: int = 0
    """What ``steps`` was before it was settled; the learning rate of the steps before ``until`` followed it."""
    until: int = 0
    """The step at which it was, or will be, settled."""

    def schedule_steps(self, step: int) -> int:
        """The number of steps that the schedule knew at ``step``: the same however often the run was interrupted."""
        return self.first if step < self.until else self.steps

    def settle(self, budget: Budget, *, pace: float | None, at_most: int | None) -> Length:
        """The final number, where a step took ``pace`` seconds so far, held-out measurements included.

        Where nobody knows the pace any more, it is the number so far.
        """
        assert not self.settled
        if pace is None:
            return replace(self, settled=True)
        rest = budget.steps_in(pace, spent=self.spent + pace * self.until)
        assert rest is not None, "only minutes need settling"
        steps = self.until + rest
        return replace(self, steps=steps if at_most is None else min(steps, at_most), settled=True)

    def heldout_steps(self, evaluations: int) -> frozenset[int]:
        """The steps after which the held-out loss is measured, evenly spread, the last one included."""
        early = [step for step in _spread(self.first, evaluations) if 0 < step <= self.until]
        late = _spread(self.steps - self.until, evaluations - len(early))
        return frozenset([*early, *(self.until + step for step in late)])


def _spread(steps: int, count: int) -> list[int]:
    return [round(steps * number / count) for number in range(1, count + 1)]


def first_guess(steps: int, *, spent: float) -> Length:
    """A number of steps that the pace of the first of them will correct."""
    until = max(1, round(SETTLED_AFTER * steps))
    return Length(steps, settled=until >= steps, spent=spent, first=steps, until=until)


def read_length(path: Path) -> Length | None:
    """What ``plan.json`` says; None where it is missing or damaged."""
    try:
        return Length(**(read_json(path) or {})["length"])
    except (KeyError, TypeError):
        return None


def write_length(path: Path, length: Length, arithmetic: dict[str, str]) -> None:
    """Write ``plan.json``; the ``arithmetic`` that stands there is that of the first process and stays."""
    begun_with = (read_json(path) or {}).get("arithmetic", arithmetic)
    write_json(path, {"length": asdict(length), "arithmetic": begun_with})


def arithmetic(training: Training) -> dict[str, str]:
    """What decides the last bits of the weights, beside settings, data and seed."""
    dtype = next(training.model.parameters()).dtype
    return {
        "number type": str(dtype).removeprefix("torch."),
        "compilation": "on" if training.compiled else "off",
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
        "processor": processor(),
    }


def what_differs(path: Path, now: dict[str, str]) -> str | None:
    """How this process computes otherwise than the one that began the run, in words; None where it does not."""
    before = (read_json(path) or {}).get("arithmetic")
    if not isinstance(before, dict) or before == now:
        return None
    changes = (f"{name} {before.get(name)}, now {value}" for name, value in now.items() if before.get(name) != value)
    return ", ".join(changes)

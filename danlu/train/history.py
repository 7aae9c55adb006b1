"""What a training remembers besides its weights and the optimizer's state; every checkpoint holds it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from danlu.train.guard import Guard


@dataclass
class History:
    """Plain numbers, on which the next steps depend."""

    guard: Guard
    """And its statistics of the steps taken lately."""
    tokens: int = 0
    """Read so far, padding not counted."""
    heldout: list[tuple[int, float]] = field(default_factory=list)
    """How many steps were done, and the held-out loss then."""
    setbacks: int = 0
    """How often the training has gone back to a checkpoint, with a lower learning rate each time."""
    training: str = ""
    """Which one it is (identity.py); empty where nobody has said."""

    def state(self) -> dict[str, Any]:
        """As plain JSON; the tokens have a place of their own in a checkpoint."""
        return {"guard": self.guard.state(), "heldout": [list(each) for each in self.heldout],
                "setbacks": self.setbacks, "training": self.training}  # fmt: skip

    def load(self, state: dict[str, Any], *, tokens: int) -> None:
        """Take over :meth:`state`."""
        self.guard.load(state.get("guard", {}))
        self.tokens = tokens
        self.heldout[:] = [(int(step), float(loss)) for step, loss in state.get("heldout", ())]
        self.setbacks = int(state.get("setbacks", 0))

    @property
    def best(self) -> tuple[int, float] | None:
        """The step with the lowest held-out loss, the first of several; None before the first measurement."""
        numbers = [each for each in self.heldout if not math.isnan(each[1])]
        return min(numbers, key=lambda each: each[1], default=None)


def setbacks_of(state: Mapping[str, Any], training: str) -> int:
    """How often ``training`` had gone back, by what a checkpoint remembers: not yet, where that is of another one."""
    own = state.get("training")
    return int(state.get("setbacks", 0)) if not own or not training or own == training else 0

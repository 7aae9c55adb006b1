"""A property of training, and what came of looking at it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from danlu.verify.sample import Sample


@dataclass(slots=True)
class Outcome:
    """What was compared, and what came out."""

    compared: str
    """How many cases, of what."""
    worst: str
    """The largest difference, or a count."""
    bound: str
    """What it may be."""
    faults: list[str] = field(default_factory=list)
    """What does not hold, in words."""
    not_run: str = ""
    """Why this machine cannot say; nothing where it can."""

    @property
    def verdict(self) -> str:
        return "not run" if self.not_run else "fails" if self.faults else "holds"


@dataclass(frozen=True, slots=True)
class Property:
    """One line of the table."""

    name: str
    says: str
    """What holds, in a few words."""
    look: Callable[[Sample], Outcome]


Differences = dict[str, tuple[float, float]]
"""By what was compared: how much differs, and how much may at most."""


def within(compared: str, differences: Differences) -> Outcome:
    """The outcome of these; one that is no number is a fault too."""
    by_bound: dict[float, list[float]] = {}
    for each, bound in differences.values():
        by_bound.setdefault(bound, []).append(each)
    faults = [f"{what}: {each:.1e}" for what, (each, bound) in differences.items() if not each <= bound]
    shown = ", ".join(f"{worst(each):.0e}" for each in by_bound.values())
    return Outcome(compared, shown, ", ".join(f"{bound:.0e}" for bound in by_bound), faults)


def worst(differences: Iterable[float]) -> float:
    """The largest; no number where one is none, which ``max`` would pass over."""
    each = list(differences)
    return math.nan if any(map(math.isnan, each)) else max(each)


def apart(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> float:
    """The norm of the difference over that of what is expected, all tensors together; endless where one is missing."""
    if expected.keys() != found.keys():
        return math.inf
    gaps = torch.stack([(found[name].double() - expected[name].double()).norm() for name in expected])
    whole = torch.stack([expected[name].double().norm() for name in expected])
    return float(gaps.norm() / whole.norm())


def relative(expected: float, found: float) -> float:
    """The difference over the size of what is expected."""
    return abs(found - expected) / abs(expected)

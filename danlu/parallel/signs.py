"""What ranks say of themselves, and what follows from it: who is dead, who hangs, who waits for whom.

Nothing here asks anybody: it is a function of signs and of the time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

LONGER = 3
"""Times as long as others have taken, or as ever before, may a stretch of work take."""


@dataclass
class Sign:
    """What a rank says of itself, and since when it has said nothing else by the clock of who reads it."""

    beats: int = 0
    arrived: int = 0
    """Points reached at which all ranks meet."""
    work: int = 0
    """Pieces of work done, such as micro-batches."""
    limit: float = 0.0
    """Seconds that it may be waited for."""
    activity: int = 0
    """How often its process was seen to do something."""
    idle: float = 0.0
    """Seconds that it may be waited for while it does nothing."""
    alike: bool = False
    """Whether all ranks do now what it does, each as much, so that none may take many times as long as another."""
    took: float = 0.0
    """Seconds between the last two points at which all meet; 0 where it has done no piece of work there."""
    calls: dict[str, int] = field(default_factory=dict)
    """Collective calls that it has begun, by the name of the group of ranks that make them."""
    left: bool = False
    """Whether it has come to its end in good order."""
    seen: float = 0.0
    """When ``beats`` last changed."""
    moved: float = 0.0
    """When it last came on, by any of ``CAME_ON``."""
    stirred: float = 0.0
    """When it last came on or did something."""

    def told(self) -> dict[str, Any]:
        """What others are told."""
        return {name: getattr(self, name) for name in TOLD}

    def take(self, told: Mapping[str, Any]) -> None:
        """Note what a rank says, and when it was news."""
        now = time.monotonic()
        if told["beats"] != self.beats:
            self.seen = now
        if any(told[name] != getattr(self, name) for name in CAME_ON):
            self.moved = self.stirred = now
        elif told["activity"] != self.activity:
            self.stirred = now
        for name, value in told.items():
            setattr(self, name, value)


TOLD = ("beats", "arrived", "work", "limit", "activity", "idle", "alike", "took", "calls", "left")
CAME_ON = ("arrived", "work", "limit", "calls")
"""A rank that begins one call after the other, as of each layer's, hangs in none of them."""


def problem(names: Sequence[str], signs: Sequence[Sign], now: float, *, silent: float, stuck: float) -> str | None:
    """What is wrong with a rank, or with all of them, in words.

    Args:
        silent: seconds without a sign of life after which a rank is dead.
        stuck: seconds that a rank may take longer than others that do the same.
    """
    for name, sign in zip(names, signs, strict=True):
        if not sign.left and now - sign.seen > silent:
            return f"{name} gives no sign of life since {now - sign.seen:.0f} s: it is dead or stopped"
    furthest = max(sign.arrived for sign in signs)
    behind = {rank: sign for rank, sign in enumerate(signs) if sign.arrived < furthest}
    if not behind:
        return _all_wait(names, signs, now)
    longest = _longest(signs, furthest)
    for rank, sign in behind.items():
        as_others = max(stuck + LONGER * longest, sign.idle) if sign.alike else math.inf
        if now - sign.moved > min(sign.limit, as_others):
            what = "has left" if sign.left else "hangs"
            return f"{names[rank]} {what}: the others have waited for it for {now - sign.moved:.0f} s"
    if all(now - sign.stirred > sign.idle for sign in behind.values()):
        # Whoever is at work may be what another one waits for, as for a lock of the compiler's.
        rank, sign = min(behind.items(), key=lambda each: each[1].stirred)
        what = "has left" if sign.left else "hangs: it has done nothing"
        return f"{names[rank]} {what} for {now - sign.stirred:.0f} s, and the others wait for it"
    return None


def _longest(signs: Sequence[Sign], furthest: int) -> float:
    """The longest time that those who wait took for what the others still do; infinite where one has not done it."""
    took = [sign.took for sign in signs if sign.arrived == furthest]
    return max(took) if all(took) else math.inf


def _all_wait(names: Sequence[str], signs: Sequence[Sign], now: float) -> str | None:
    """Of ranks that have all come to the same point, and that stand in the calls which follow, or before them."""
    still = min(now - sign.stirred for sign in signs)
    rest = min(now - sign.moved for sign in signs)
    patience = max(max(sign.limit, sign.idle) for sign in signs)  # as where a disk that all read stands still
    if still <= max(sign.idle for sign in signs) and rest <= patience:
        return None
    if (late := begun_least(signs)) is not None:
        return f"{names[late]} hangs: it has not begun a call in which others wait for it, for {rest:.0f} s"
    if still >= rest:
        return f"no rank has done anything for {still:.0f} s: they wait for each other; is the network between them up?"
    return f"no rank has come on for {rest:.0f} s: they wait for each other; is the network between them up?"


def begun_least(signs: Sequence[Sign]) -> int | None:
    """The rank that has begun fewer calls of a group than another of it, and that waits itself for nobody.

    None where there is none, or more than one: then nobody knows who is to blame.
    """
    most: dict[str, int] = {}
    least: dict[str, int] = {}
    for sign in signs:
        for group, count in sign.calls.items():
            most[group] = max(most.get(group, count), count)
            least[group] = min(least.get(group, count), count)
    late = [
        rank
        for rank, sign in enumerate(signs)
        if any(count < most[group] for group, count in sign.calls.items())
        and not any(count > least[group] for group, count in sign.calls.items())
    ]
    return late[0] if len(late) == 1 else None

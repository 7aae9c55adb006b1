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
NEWS = 3.0
"""Seconds that it takes at the most until all know what a rank does: one that has just waited itself may be at work."""
POINTS = 8
"""Of so many points where all meet a rank says how long it worked before them: one that waits for nobody there, as who
speaks to all others, may be further by now."""


@dataclass
class Sign:
    """What a rank says of itself, and since when it has said nothing else by the clock of who reads it."""

    beats: int = 0
    arrived: int = 0
    """Points reached at which all ranks meet."""
    waits: bool = False
    """Whether it stands at such a point."""
    work: int = 0
    """Pieces of work done, such as micro-batches."""
    limit: float = 0.0
    """Seconds that it may be waited for."""
    activity: int = 0
    """How often its process was seen to do something."""
    idle: float = 0.0
    """Seconds that it may be waited for while it does nothing."""
    what: str = ""
    """What it does, in words."""
    alike: bool = False
    """Whether all ranks do now what it does, each as much, so that none may take many times as long as another."""
    took: list[tuple[int, float]] = field(default_factory=list)
    """Of the last points at which all meet, by number: the seconds that it worked since the one before."""
    calls: dict[str, int] = field(default_factory=dict)
    """Collective calls that it has begun, by the name of the group of ranks that make them."""
    left: bool = False
    """Whether it has come to its end in good order."""
    seen: float = 0.0
    """When ``beats`` last changed."""
    came: float = 0.0
    """When ``arrived`` did."""
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
        news = {name for name, value in told.items() if value != getattr(self, name, None)}
        if "beats" in news:
            self.seen = now
        if "arrived" in news:
            self.came = now
        if not news.isdisjoint(CAME_ON):
            self.moved = self.stirred = now
        elif "activity" in news:
            self.stirred = now
        for name, value in told.items():
            setattr(self, name, value)


TOLD = ("beats", "arrived", "waits", "work", "limit", "activity", "idle", "what", "alike", "took", "calls", "left")
CAME_ON = ("arrived", "work", "limit", "calls")
"""A rank that begins one call after the other, as of each layer's, hangs in none of them."""


def problem(
    names: Sequence[str], signs: Sequence[Sign], now: float, *, silent: float, stuck: float, blocked: float
) -> str | None:
    """What is wrong with a rank, or with all of them, in words.

    Args:
        silent: seconds without a sign of life after which a rank is dead.
        stuck: seconds that a rank may take longer than others that do the same.
        blocked: seconds without progress of all, where none of them is to blame.
    """
    for name, sign in zip(names, signs, strict=True):
        if not sign.left and now - sign.seen > silent:
            return f"{name} gives no sign of life since {now - sign.seen:.0f} s: it is dead or stopped"
    furthest = max(sign.arrived for sign in signs)
    behind = {rank: sign for rank, sign in enumerate(signs) if sign.arrived < furthest}
    if not behind:
        return _none_ahead(names, signs, now, blocked)
    ahead = {rank: min(other.came for other in signs if other.arrived > sign.arrived) for rank, sign in behind.items()}
    for rank, sign in behind.items():
        awaited = now - max(sign.moved, ahead[rank])
        as_others = max(stuck + LONGER * _longest(signs, sign.arrived + 1), sign.idle) if sign.alike else math.inf
        if awaited > min(sign.limit, as_others):
            return f"{names[rank]} {_ended(sign)}: the others have waited for it for {awaited:.0f} s"
    if all(now - sign.stirred > sign.idle and now - ahead[rank] > NEWS for rank, sign in behind.items()):
        # Whoever is at work may be what another one waits for, as for a lock of the compiler's.
        rank, sign = min(behind.items(), key=lambda each: each[1].stirred)
        idle = "" if sign.left else ": it has done nothing"
        return f"{names[rank]} {_ended(sign)}{idle} for {now - sign.stirred:.0f} s, and the others wait for it"
    return None


def _ended(sign: Sign) -> str:
    """What has become of who is behind."""
    if sign.left:
        return "has left"
    return f"hangs as it {sign.what}" if sign.what else "hangs"


def _longest(signs: Sequence[Sign], point: int) -> float:
    """The longest that a rank has worked before it came to this point; infinite where none has."""
    return max((took for sign in signs for reached, took in sign.took if reached == point), default=math.inf)


def _none_ahead(names: Sequence[str], signs: Sequence[Sign], now: float, blocked: float) -> str | None:
    """Of ranks that have all come to the same point: they stand in its calls, or are at work behind it."""
    still = min(now - sign.stirred for sign in signs)
    rest = min(now - sign.moved for sign in signs)
    idle = max(sign.idle for sign in signs)  # as where a disk that all read stands still
    patience = max(idle, *(sign.limit for sign in signs))
    late = begun_least(signs)
    if late is not None and (still > idle or rest > patience):
        return f"{names[late]} hangs: it has not begun a call in which others wait for it, for {rest:.0f} s"
    if not all(sign.waits for sign in signs):  # they may all be at work, and slow: a machine may have to swap
        idle, patience = max(idle, blocked), max(patience, blocked)
    if still > idle:
        return f"no rank has done anything for {still:.0f} s: they wait for each other; is the network between them up?"
    if rest > patience:
        return f"no rank has come on for {rest:.0f} s: they wait for each other; is the network between them up?"
    return None


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

"""What ranks say of themselves, and what follows from it: who is dead, who hangs, who waits for whom.

Blamed is only who is waited for and waits itself for nobody. One rank waits for another that has not come to a point
where all meet, that has not begun a collective call which the first is in, that is to send or to receive what the first
receives or sends, or that has the compiler's lock.

Nothing here asks anybody: it is a function of signs and of the time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
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
    compiles: bool = False
    """Whether the compiler works, which takes many times as long where it has kept nothing."""
    process: str = ""
    """Its host and number."""
    lock: str = ""
    """The process, by host and number, that has one of the locks which its compiler may wait for."""
    took: list[tuple[int, float]] = field(default_factory=list)
    """Of the last points at which all meet, by number: the seconds that it worked since the one before."""
    calls: dict[str, int] = field(default_factory=dict)
    """Collective calls that it has begun since the last such point, by the name of the group that makes them."""
    peer: int = -1
    """The rank that it sends something to, or receives something from; -1 where there is none."""
    pause: float = 0.0
    """The longest, in seconds, that it went without beginning one since then."""
    left: bool = False
    """Whether it has come to its end in good order."""
    seen: float = 0.0
    """When ``beats`` last changed."""
    came: float = 0.0
    """When ``arrived`` did."""
    called: float = 0.0
    """When ``calls`` did."""
    moved: float = 0.0
    """When it last came on, by any of ``CAME_ON``."""
    stirred: float = 0.0
    """When it last came on or did something."""
    excused: float = 0.0
    """When it was last seen that nobody waited for it, or that it waited itself: what it waits for may have come since,
    and it has still to say so."""

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
        if "calls" in news:
            self.called = now
        if not news.isdisjoint(CAME_ON):
            self.moved = self.stirred = now
        elif "activity" in news:
            self.stirred = now
        for name, value in told.items():
            setattr(self, name, value)


TOLD = (
    "beats", "arrived", "waits", "work", "limit", "activity", "idle", "what", "alike", "compiles", "process", "lock",
    "took", "calls", "peer", "pause", "left",
)  # fmt: skip
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
    late = awaited(signs)
    for rank, sign in enumerate(signs):
        if rank not in late:
            sign.excused = now
    if not late:
        return _none_awaited(signs, now, blocked)
    for rank, since in late.items():
        sign = signs[rank]
        waited = now - max(sign.moved, since, sign.excused)
        if waited > min(sign.limit, _as_others(signs, rank, stuck=stuck, blocked=blocked)):
            why = _of_calls_or_locks(signs, sign) or "the others have waited for it"
            return f"{names[rank]} {_ended(sign)}: {why} for {waited:.0f} s"
    if all(_does_nothing(signs[rank], now, since) for rank, since in late.items()):
        # Whoever is at work may be what another one waits for, as for a lock that nobody knows of.
        rank = min(late, key=lambda each: signs[each].stirred)
        sign, seconds = signs[rank], now - signs[rank].stirred
        if why := _of_calls_or_locks(signs, sign):
            return f"{names[rank]} {_ended(sign)}: {why} for {seconds:.0f} s"
        idle = "" if sign.left else ": it has done nothing"
        return f"{names[rank]} {_ended(sign)}{idle} for {seconds:.0f} s, and the others wait for it"
    return None


def _does_nothing(sign: Sign, now: float, since: float) -> bool:
    """Whether a rank has done nothing for too long, and is known to be to blame since others have told."""
    return now - sign.stirred > sign.idle and now - max(since, sign.excused) > NEWS


def awaited(signs: Sequence[Sign]) -> dict[int, float]:
    """Who is waited for and waits for nobody: the rank, and since when."""
    lowest = min(sign.arrived for sign in signs)  # others wait for who is there
    came = min((sign.came for sign in signs if sign.arrived > lowest), default=math.inf)
    last = {rank: sign for rank, sign in enumerate(signs) if sign.arrived == lowest}
    since, waiting = dict.fromkeys(last, came), set[int]()
    for rank, other, when in (*_in_calls(last), *_for_one_process(last)):
        waiting.add(rank)
        since[other] = min(since[other], when)
    return {rank: when for rank, when in since.items() if rank not in waiting and when < math.inf}


def _in_calls(last: Mapping[int, Sign]) -> Iterator[tuple[int, int, float]]:
    """Who waits in a collective call for whom, and since when; of those that have begun equally many, for one of them.

    What two ranks exchange counts as a call too, but only theirs: those are left out.
    """
    groups: dict[str, dict[int, list[int]]] = {}
    for rank, sign in last.items():
        for group, count in sign.calls.items() if sign.peer < 0 else ():
            groups.setdefault(group, {}).setdefault(count, []).append(rank)
    for by_count in groups.values():
        for fewer, more in pairwise(sorted(by_count)):
            when = min(last[rank].called for rank in by_count[more])
            yield from ((rank, by_count[fewer][0], when) for rank in by_count[more])
            yield from ((by_count[more][0], other, when) for other in by_count[fewer])


def _for_one_process(last: Mapping[int, Sign]) -> Iterator[tuple[int, int, float]]:
    """Who waits for what another rank is to send or to receive, or for its lock, and since when."""
    ranks = {sign.process: rank for rank, sign in last.items() if sign.process}
    for rank, sign in last.items():
        if sign.peer in last:
            yield rank, sign.peer, sign.moved
        if sign.lock in ranks:
            yield rank, ranks[sign.lock], sign.stirred


def _as_others(signs: Sequence[Sign], rank: int, *, stuck: float, blocked: float) -> float:
    """Seconds that a rank may be waited for by what others took for the same; infinite where that is not known."""
    sign = signs[rank]
    if not sign.alike:
        return math.inf
    further = [each for each in signs if each.arrived > sign.arrived]
    if further:
        longest = _longest(signs, sign.arrived + 1)
    else:
        longest = max(each.pause for other, each in enumerate(signs) if other != rank)
    return max(stuck + LONGER * longest, sign.idle, blocked if sign.compiles else 0.0)


def _of_calls_or_locks(signs: Sequence[Sign], sign: Sign) -> str:
    """What others wait for, in words, if it is not that it comes to where all meet."""
    if any(each.arrived > sign.arrived for each in signs):
        return ""
    if any(each.lock and each.lock == sign.process for each in signs):
        return "it has a lock of the compiler's that others wait for,"
    return "it has not begun a call in which others wait for it,"


def _ended(sign: Sign) -> str:
    """What has become of who is behind."""
    if sign.left:
        return "has left"
    return f"hangs as it {sign.what}" if sign.what else "hangs"


def _longest(signs: Sequence[Sign], point: int) -> float:
    """The longest that a rank has worked before it came to this point; infinite where none has."""
    return max((took for sign in signs for reached, took in sign.took if reached == point), default=math.inf)


def _none_awaited(signs: Sequence[Sign], now: float, blocked: float) -> str | None:
    """Of ranks that have all come to the same point: they stand in its calls, or are at work behind it."""
    still = min(now - sign.stirred for sign in signs)
    rest = min(now - sign.moved for sign in signs)
    idle = max(sign.idle for sign in signs)  # as where a disk that all read stands still
    patience = max(idle, *(sign.limit for sign in signs))
    if not all(sign.waits for sign in signs):  # they may all be at work, and slow: a machine may have to swap
        idle, patience = max(idle, blocked), max(patience, blocked)
    if still > idle:
        return f"no rank has done anything for {still:.0f} s: they wait for each other; is the network between them up?"
    if rest > patience:
        return f"no rank has come on for {rest:.0f} s: they wait for each other; is the network between them up?"
    return None

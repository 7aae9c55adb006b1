"""What a rank does, as its main thread tells it, and what follows from it: how long the others may wait for this rank.

Time within a meeting, where it may be that which waits for others, is no work of its own.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from danlu.corpus.fetching import Fetches, under_way
from danlu.parallel.activity import Activity, waits_for_disk
from danlu.parallel.locks import holders
from danlu.parallel.patience import Watch
from danlu.parallel.signs import LONGER, POINTS, Sign
from danlu.parallel.whereabouts import Whereabouts

SETTLED = 2
"""Steps that may take as long as ``first`` says."""
TIMED = 1
"""Steps after which it counts how long a micro-batch takes."""
RECENT = 20
"""Steps that tell how long one takes: what was slower before is forgotten, and so is one that was slow alone."""
SPARE = 0.5
"""Of ``stuck``: processor time that is no hang yet where only bytes are progress, or only new lines of the program. It
counts by the processor's clock, so that a loaded machine is given as much."""
RATE = 2e8
"""Bytes a second that are copied and looked at, at the least, before the first of them is written."""


@dataclass(frozen=True, slots=True)
class Doing:
    """What the main thread does between two meetings."""

    what: str = ""
    """In words: where it hangs, if it does."""
    alike: bool = False
    """Whether all ranks do it, each as much."""
    steps: bool = False
    """Whether one micro-batch follows the other."""
    moves: int | None = None
    """Bytes that it writes, or reads, where it does nothing else."""
    again: bool = False
    """Whether it has been done before, so that its pieces are known to take about as long as then."""
    call: float = 0.0
    """Seconds that a call outside Python may take, of which nothing is seen."""


BETWEEN = Doing(moves=0)
"""What nothing is told of, at the start and between stages: files are looked at and moved, and nothing is computed."""


@dataclass
class Usual:
    """How long something takes in a step, at the most: of the last steps, but for one that may have been slow alone."""

    _longest: float = 0.0
    """In the present step."""
    _recent: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))

    def note(self, seconds: float) -> None:
        """It has taken so long."""
        self._longest = max(self._longest, seconds)

    def next_step(self, *, counts: bool) -> None:
        """Begin another step; whether this one counts."""
        if counts:
            self._recent.append(self._longest)
        self._longest = 0.0

    def seconds(self) -> float:
        """What is usual; 0 where no step has counted yet."""
        return sorted(self._recent)[-2:][0] if self._recent else 0.0


def process(number: int) -> str:
    """How a process of this machine is told from those of others."""
    return f"{socket.gethostname()}/{number}"


@dataclass
class Work:
    """The sign of this rank, and what it hangs on. The main thread tells; the watch's own looks and writes."""

    settings: Watch
    activity: Activity = field(default_factory=Activity)
    """Of this process."""
    calls: Callable[[], dict[str, int]] = dict
    """Collective calls that it has begun, by the name of the group."""
    whereabouts: Whereabouts = field(default_factory=Whereabouts)
    """Of the thread that works: the main one, or one in which torch compiles."""
    locks: Callable[[], Path | None] = lambda: None
    """The folder of the compiler's locks, if it has any."""
    sign: Sign = field(default_factory=lambda: Sign(process=process(os.getpid())))
    steps: int = 0
    """Done since training began, or began again."""
    fetches: Fetches = field(default_factory=under_way)
    """When it was looked at last."""
    brought: float = field(default_factory=time.monotonic)
    """When something had come last of what it fetches, or it had begun to fetch."""
    _doing: Doing = BETWEEN
    _elsewhere: bool = False
    _compiling: bool = False
    _waited: bool = False
    """Whether a thread was waiting for a disk."""
    _begun: dict[str, int] = field(default_factory=dict)
    """Of its calls, those up to the last point where all meet, and those since then that two ranks alone make."""
    _called: float = field(default_factory=time.monotonic)
    """When it had begun a call last, or met the others."""
    _longest: dict[str, float] = field(default_factory=dict)
    """Of what it has done, in words: how long a piece of it took at the most."""
    _spent: float = 0.0
    """Processor time since it has come on, or bytes have moved."""
    _met: float = field(default_factory=time.monotonic)
    """When it left the last meeting."""
    _since: float = field(default_factory=time.monotonic)
    """When it began the present piece of work."""
    _pieces: int = 0
    """Done since the last meeting."""
    _piece: Usual = field(default_factory=Usual)
    _meeting: Usual = field(default_factory=Usual)

    @contextmanager
    def meeting(self) -> Iterator[None]:
        """The main thread stands where all ranks meet: in collective calls, but for those within the model."""
        self._end_piece()
        if self._pieces or not self._doing.steps:  # else it may have had nothing to do where others have
            self.sign.took = [*self.sign.took, (self.sign.arrived + 1, self._since - self._met)][-POINTS:]
        self.sign.arrived += 1
        self.sign.waits = True
        self._begun = self.calls()
        self._rested()
        try:
            yield
        finally:
            self.sign.waits = False
            if self._doing.steps:
                self._meeting.note(time.monotonic() - self._since)
            self._begin_piece()
            self._met, self._pieces = self._since, 0
            self._rested()

    @contextmanager
    def exchange(self, other: int) -> Iterator[None]:
        """The main thread sends something to another rank, or receives it. Backends count that as a call, of two ranks
        and not of all, so that it is taken out of the count."""
        before, self.sign.peer = self.calls(), other
        try:
            yield
        finally:
            for group, count in self.calls().items():
                self._begun[group] = self._begun.get(group, 0) + count - before.get(group, 0)
            self.sign.peer = -1
            self._begin_piece()

    def tick(self) -> None:
        """The main thread has done a piece of work, and others may be ahead."""
        self._end_piece()
        self._pieces += 1
        self._begin_piece()

    def step(self) -> None:
        """A step is done: the first ones may take longer."""
        self.steps += 1
        self.tick()
        for each in (self._piece, self._meeting):
            each.next_step(counts=self.steps > TIMED)

    @contextmanager
    def training(self) -> Iterator[None]:
        """Step after step; before and after it nobody knows how long something takes."""
        self.steps = 0
        with self._does(Doing(alike=True, steps=True)):
            yield

    def alone(
        self, what: str, *, moves: int | None = None, again: bool = False, call: float = 0.0
    ) -> AbstractContextManager[None]:
        """Something that this rank does while others wait, and that takes as long as it takes.

        Args:
            what: in words, with "it" before them: ``saves``.
            moves: bytes that it writes, or reads, where it does nothing else: a processor at work is no progress then.
            again: whether this rank has done the same before, by the same name: its pieces then take as long as ever.
            call: seconds that a call outside Python may take, such as one that trains a tokenizer.
        """
        return self._does(Doing(what, moves=moves, again=again, call=call))

    def alike(self, what: str) -> AbstractContextManager[None]:
        """Something that each rank does for itself, all of them the same, and that takes as long as it takes."""
        return self._does(Doing(what, alike=True))

    def elsewhere(self, *, is_so: bool) -> None:
        """Whether this rank does what is no part of training, and what the others wait for however long it takes."""
        self._elsewhere = is_so
        self._begin_piece()

    def compiles(self, *, is_so: bool) -> None:
        """Whether the compiler works, perhaps in other processes, or waits for one that is not of this training."""
        self._compiling = is_so
        self.whereabouts.forget()
        self._begin_piece()

    def look(self) -> None:
        """Note what this process has done since the last sign; that a wait for a disk, or for a lock of the compiler's,
        is over is something, too."""
        waited, self._waited = self._waited, waits_for_disk()
        seen = self.activity.seen(computing=self._is_work())
        self._spent = 0.0 if self.activity.carried else self._spent + self.activity.seconds
        if self.activity.carried:
            self.whereabouts.came_on()
        lock, self.sign.lock = self.sign.lock, self._awaited_lock()
        self.sign.activity += seen or waited != self._waited or lock != self.sign.lock
        before, self.fetches = self.fetches, under_way()
        if self.fetches != before:
            self.sign.work += 1
            self.brought = time.monotonic()
        if self.activity.carried and (self._as_others() or self._doing.again) and not self._settled():
            self.sign.work += 1  # the others may have found in memory what comes from a disk here, or from far away
        self._look_at_calls()

    def _is_work(self) -> bool:
        """Whether a processor that is busy is progress."""
        spare, doing = SPARE * self.settings.stuck, self._doing
        if doing.moves is not None:
            return self._spent < spare
        if doing.alike and not self._compiling:
            return True  # the others tell how long it takes
        self.whereabouts.look()
        longest = 0.0 if doing.alike else LONGER * self._longest.get(doing.what, 0.0)
        return self.whereabouts.turning < max(spare, longest) + doing.call

    def _look_at_calls(self) -> None:
        calls = {group: count - self._begun.get(group, 0) for group, count in self.calls().items()}
        if calls != self.sign.calls:
            now = time.monotonic()
            self.sign.calls, self.sign.pause, self._called = calls, max(self.sign.pause, now - self._called), now

    def _awaited_lock(self) -> str:
        """Whose lock the compiler may wait for: that of another process, by its host and number."""
        folder = self.locks() if self._compiling else None
        if folder is None or not (others := holders(folder) - {os.getpid()}):
            return ""
        with contextlib.suppress(psutil.Error):
            others -= {child.pid for child in psutil.Process().children(recursive=True)}
        return process(min(others)) if others else ""

    def told(self) -> dict[str, Any]:
        """What the others are told."""
        self.sign.beats += 1
        self.sign.limit, self.sign.idle = self.limits()
        self.sign.alike, self.sign.what = self._as_others(), self._doing.what
        self.sign.compiles = self._compiling
        return self.sign.told()

    def limits(self) -> tuple[float, float]:
        """How long this rank may be waited for, in seconds: at work, and doing nothing."""
        known = self.settings
        if self._elsewhere:
            return math.inf, math.inf
        if self.fetches.fetching or self.fetches.queued:  # whoever fetches sees for itself whether something comes
            return known.first, known.first
        if self._settled():
            usual = self._meeting if self.sign.waits else self._piece
            limit = idle = max(known.stuck, LONGER * usual.seconds())
        else:
            limit, idle = known.first, known.stuck + (self._doing.moves or 0) / RATE
        if self.sign.lock or self._waited:
            idle = max(idle, known.blocked)
        if self._doing.again and (longest := self._longest.get(self._doing.what)) is not None:
            limit = max(idle, LONGER * longest)
        return limit, idle

    @contextmanager
    def _does(self, doing: Doing) -> Iterator[None]:
        self._end_piece()
        before, self._doing = self._doing, doing
        self.whereabouts.forget()
        self._begin_piece()
        try:
            yield
        finally:
            self._end_piece()
            self._doing = before
            self.whereabouts.forget()
            self._begin_piece()

    def _begin_piece(self) -> None:
        """What it does now is something else: whoever waits for this rank sees it come on."""
        self._since, self._spent = time.monotonic(), 0.0
        self.whereabouts.came_on()
        self.sign.work += 1

    def _end_piece(self) -> None:
        now = time.monotonic()
        if self._doing.steps and not self._compiling:
            self._piece.note(now - self._since)
        if self._doing.what:
            self._longest[self._doing.what] = max(self._longest.get(self._doing.what, 0.0), now - self._since)
        self._since = now

    def _rested(self) -> None:
        """What it waited for at a point where all meet is no time without a call."""
        self.sign.pause, self._called = 0.0, time.monotonic()

    def _settled(self) -> bool:
        return self._doing.steps and not self._compiling and self.steps >= SETTLED

    def _as_others(self) -> bool:
        """Whether all ranks do now what it does, each as much."""
        return self._doing.alike and not self._elsewhere

"""A rank that is dead or hangs stops all others, by name, instead of being waited for.

Every rank writes a sign of life into the store where the ranks have met, each ``BEAT`` seconds and over a
connection of its own: how often it beat, how far it has come, and how long it may be waited for. And every rank reads
those of the others:

- no new sign for ``silent`` seconds: its process is dead or stopped, or its machine is;
- signs, but no progress for as long as it may be waited for, while others are ahead and wait: it hangs;
- no progress of any rank: of those that wait for each other, who has begun fewer collective calls hangs.

What counts as progress: amid settled steps, micro-batches and collective calls. Elsewhere - at the start, in the first
steps, in a save or a measurement, at the end - nobody knows how long something takes. There counts also whatever the
process does at all (:mod:`danlu.parallel.activity`), for half an hour; in the first steps and in measurements, which
all ranks do alike, for not much longer than the others took, but as long as bytes move; and in saves only what it reads
and writes.

Whoever sees it first writes the verdict and says it; all leave. The main thread may be in a collective call by then,
which nothing interrupts: so two threads beside it do all this, one for the connection, one for the clock.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import Field

from danlu.parallel.activity import Activity, waits_for_disk
from danlu.parallel.signs import LONGER, Sign, problem
from danlu.recipe import Settings

BEAT = 1.0
"""Seconds between two signs of life."""
LOOK = 0.02
"""Seconds between two looks at whether the others are there, or have left."""
LOST = 3
"""The exit code of ranks that leave because of another one."""
SETTLED = 2
"""Steps that may take as long as ``first`` says."""
TIMED = 1
"""Steps after which it counts how long a micro-batch takes."""
RATE = 2e8
"""Bytes a second that are copied and looked at, at the least, before the first of them is written."""


class Watch(Settings):
    """When a rank counts as lost; all others then stop."""

    silent: float = Field(default=12.0, ge=3)
    """Seconds without a sign of life from its process."""
    stuck: float = Field(default=15.0, ge=2)
    """Seconds while others wait for it: without a micro-batch, or three times its longest one where that is more;
    without any work of its process (processor time, bytes) at the start, in the first steps, in saves, measurements;
    and beyond three times what the others took for the same, in the first steps and in measurements."""
    blocked: float = Field(default=120.0, ge=2)
    """As ``stuck``, where it waits for a disk or for the compiler, which may wait for another process; between settled
    micro-batches only where no rank is ahead: there a disk that is so slow for one of them counts as a hang."""
    first: float = Field(default=1800.0, ge=2)
    """Seconds of work, but without a micro-batch, at the start, in the first steps, in saves and measurements."""


class Store(Protocol):
    """What is used of ``torch.distributed.TCPStore``."""

    def set(self, key: str, value: str, /) -> None: ...
    def get(self, key: str, /) -> bytes: ...
    def check(self, keys: list[str], /) -> bool: ...
    def compare_set(self, key: str, expected: str, wanted: str, /) -> bytes: ...


@dataclass
class Watchman:
    """The two threads of a rank, and what the main thread tells them.

    Args:
        connect: a new connection to the store.
        names: of the ranks, for people: ``rank 1 (host a, process 7)``.
        leave: ends the process at once.
    """

    connect: Callable[[], Store]
    rank: int
    names: list[str]
    settings: Watch
    keeper: int | None
    """The rank whose process the store is a part of, and which leaves last; None where the launcher keeps it."""
    activity: Activity = field(default_factory=Activity)
    """Of this process."""
    calls: Callable[[], dict[str, int]] = dict
    """Collective calls that it has begun, by the name of the group."""
    leave: Callable[[int], Any] = os._exit
    steps: int = 0
    """Done since training began, or began again."""
    _training: bool = False
    _elsewhere: bool = False
    _compiling: bool = False
    _waited: bool = False
    _sign: Sign = field(default_factory=Sign)
    _alone: str | None = None
    _alike: bool = False
    _moves: int | None = None
    """Bytes that it writes, or reads, where it does nothing else."""
    _longest: float = 0.0
    _pieces: int = 0
    """Done since it stood where all meet."""
    _met: float = field(default_factory=time.monotonic)
    """When it did."""
    _since: float = field(default_factory=time.monotonic)
    _over: threading.Event = field(default_factory=threading.Event)
    _heard: float = field(default_factory=time.monotonic)
    _signs: list[Sign] = field(default_factory=list)

    def begin(self) -> None:
        """Start to watch and to be watched."""
        self._store = self.connect()
        now = time.monotonic()
        self._signs = [
            Sign(seen=now, moved=now, stirred=now, limit=self.settings.first, idle=self.settings.blocked)
            for _ in self.names
        ]
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._beat, self._judge)]
        for thread in self._threads:
            thread.start()

    def arrive(self) -> None:
        """The main thread stands where all ranks meet."""
        self._moved()
        self._sign.took = self._since - self._met if self._pieces else 0.0
        self._met, self._pieces = self._since, 0
        self._sign.arrived += 1

    def tick(self) -> None:
        """The main thread has done a piece of work, and others may be ahead."""
        self._moved()
        self._pieces += 1
        self._sign.work += 1

    def step(self) -> None:
        """A step is done: the first ones may take longer."""
        self.steps += 1
        self.tick()

    @contextmanager
    def training(self) -> Iterator[None]:
        """Step after step; before and after it nobody knows how long something takes."""
        self._training, self.steps = True, 0
        try:
            yield
        finally:
            self._training = False

    def compiles(self, *, is_so: bool) -> None:
        """Whether the compiler works, perhaps in other processes, or waits for one that is not of this training."""
        self._compiling, self._since = is_so, time.monotonic()
        self._sign.work += 1

    def elsewhere(self, *, is_so: bool) -> None:
        """Whether this rank does what is no part of training, and what the others wait for however long it takes."""
        self._elsewhere = is_so

    @contextmanager
    def alone(self, what: str, *, moves: int | None = None) -> Iterator[None]:
        """Something that this rank does while others wait, and that takes as long as it takes.

        Args:
            moves: bytes that it writes, or reads, where it does nothing else: a processor at work is no progress then.
        """
        before, self._alone, self._moves = (self._alone, self._moves), what, moves
        try:
            yield
        finally:
            (self._alone, self._moves), self._since = before, time.monotonic()

    @contextmanager
    def alike(self, what: str) -> Iterator[None]:
        """Something that each rank does for itself, all of them the same, and that takes as long as it takes."""
        before, self._alike = self._alike, True
        try:
            with self.alone(what):
                yield
        finally:
            self._alike = before

    def wait_for_all(self) -> None:
        """At the end, until all ranks are there. Over the store: in a collective call nobody tells who hangs in it.

        Raises:
            RuntimeError: the store is gone.
        """
        store, keys = self.connect(), [f"end/{rank}" for rank in range(len(self.names))]
        store.set(keys[self.rank], "")
        self.arrive()
        while not store.check(keys):
            time.sleep(LOOK)

    @contextmanager
    def leaving(self) -> Iterator[None]:
        """What comes after the end, when no other rank looks any more: this one ends itself where it hangs."""

        def hangs() -> None:
            say(f"{self.names[self.rank]} hangs as it leaves")
            self.leave(LOST)

        timer = threading.Timer(self.settings.silent + self.settings.stuck, hangs)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def end(self) -> None:
        """Say that this rank leaves in good order."""
        self._over.set()
        for thread in self._threads:
            thread.join(2 * BEAT)
        self._take_leave(self.settings.silent)

    def blame(self, problem: str, code: int) -> bool:
        """Have all ranks leave with ``code``; False where another has been faster, and has said why."""
        with contextlib.suppress(Exception):
            verdict = json.dumps({"by": self.rank, "problem": problem, "code": code})
            return bool(json.loads(self.connect().compare_set("verdict", "", verdict))["by"] == self.rank)
        return True

    def wait_for_verdict(self) -> None:
        """After an error that another rank's end has caused: the verdict names it and ends this process meanwhile."""
        if self._over.wait(self.settings.silent + 5 * BEAT):
            for thread in self._threads:  # one of them is about to end this process
                thread.join()

    def _moved(self) -> None:
        now = time.monotonic()
        if self._trains() and self.steps >= TIMED:
            self._longest = max(self._longest, now - self._since)
        self._since = now

    def _trains(self) -> bool:
        """Whether one micro-batch follows the other."""
        return self._training and self._alone is None and not self._compiling

    def _settled(self) -> bool:
        return self._trains() and self.steps >= SETTLED

    def _as_others(self) -> bool:
        """Whether all ranks do now what it does, each as much."""
        return not self._elsewhere and not self._compiling and (self._alike or self._trains())

    def _limits(self) -> tuple[float, float]:
        """How long this rank may be waited for: at work, and doing nothing."""
        if self._elsewhere:
            return math.inf, math.inf
        if self._settled():
            limit = idle = max(self.settings.stuck, LONGER * self._longest)
        else:
            limit, idle = self.settings.first, self.settings.stuck + (self._moves or 0) / RATE
        return limit, max(idle, self.settings.blocked) if self._compiling or self._waited else idle

    def _look(self) -> None:
        """Note what this process has done since the last sign; that a wait for a disk is over is something, too."""
        waited, self._waited = self._waited, waits_for_disk()
        seen = self.activity.seen(computing=self._moves is None)
        self._sign.activity += seen or waited != self._waited
        if self.activity.carried and self._as_others() and not self._settled():
            self._sign.work += 1  # the others may have found in memory what comes from a disk here, or from far away
        self._sign.calls = self.calls()

    def _write(self, store: Store) -> None:
        mine = self._sign
        mine.beats += 1
        mine.limit, mine.idle = self._limits()
        mine.alike = self._as_others()
        store.set(_key(self.rank), json.dumps(mine.told()))

    def _beat(self) -> None:
        """Write and read signs, until the end; a store that does not answer leaves ``_heard`` as it was."""
        store = self._store
        while not self._over.wait(BEAT):
            try:
                self._look()
                self._write(store)
                for rank, sign in enumerate(self._signs):
                    if store.check([_key(rank)]):
                        sign.take(json.loads(store.get(_key(rank))))
                verdict = json.loads(store.get("verdict")) if store.check(["verdict"]) else None
            except Exception:
                return  # the connection is gone: the judge sees that nothing is heard any more
            self._heard = time.monotonic()
            if verdict is not None and not self._over.is_set():
                self._go(verdict["code"])

    def _judge(self) -> None:
        last = time.monotonic()
        while not self._over.wait(BEAT / 2):
            now = time.monotonic()
            if now - last > 4 * BEAT:  # this process itself was stopped for a while: nobody else is to blame
                self._heard = now
                for sign in self._signs:
                    sign.seen = sign.moved = sign.stirred = now
            last = now
            if now - self._heard > self.settings.silent:
                where = "the launcher" if self.keeper is None else self.names[self.keeper]
                say(f"{where} does not answer since {now - self._heard:.0f} s: it is dead or stopped")
                self._over.set()
                self.leave(LOST)  # without a word to the others: each of them sees the same
            elif wrong := self._problem(now):
                if self.blame(wrong, LOST):
                    say(wrong)
                self._go(LOST)

    def _problem(self, now: float) -> str | None:
        """What is wrong with another rank, in words."""
        return problem(self.names, self._signs, now, silent=self.settings.silent, stuck=self.settings.stuck)

    def _go(self, code: int) -> None:
        self._over.set()
        self._take_leave(3 * BEAT)
        self.leave(code)

    def _take_leave(self, seconds: float) -> None:
        """Tell the others; whose process the store is a part of waits until they have read what stands there."""
        until = time.monotonic() + seconds
        with contextlib.suppress(Exception):  # the store may have gone before, with its process
            store = self.connect()
            self._sign.left = True
            self._write(store)
            others = [rank for rank in range(len(self.names)) if rank != self.rank]
            while self.keeper == self.rank and others and time.monotonic() < until:
                others = [rank for rank in others if not (store.check([_key(rank)]) and _has_left(store, rank))]
                time.sleep(LOOK)


def say(problem: str) -> None:
    """Tell people why all ranks stop."""
    print(f"danlu: error: {problem}; all ranks stop, run the same command to go on", file=sys.stderr, flush=True)


def _has_left(store: Store, rank: int) -> bool:
    return bool(json.loads(store.get(_key(rank)))["left"])


def _key(rank: int) -> str:
    return f"sign/{rank}"

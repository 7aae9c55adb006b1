"""A rank that is dead or hangs stops all others, by name, instead of being waited for.

Every rank writes a sign of life into the store where the ranks have met, each ``BEAT`` seconds and over a
connection of its own: how often it beat, how far it has come, and how long it may be waited for. And every rank reads
those of the others:

- no new sign for ``silent`` seconds: its process is dead or stopped, or its machine is;
- signs, but no progress for as long as it may be waited for, while others are ahead and wait, and it for nobody: it
  hangs; who is ahead is told by the points where all meet, and between them by the collective calls that were begun;
- no progress of any rank, and none is ahead: they wait for each other, and nobody is named.

What counts as progress: amid settled steps, micro-batches and collective calls. Elsewhere - in the first steps, in a
save or a measurement, at the end - nobody knows how long something takes. There counts also whatever the process does
at all (:mod:`danlu.parallel.activity`); where all ranks do the same, as when they build the model, in
the first steps and in measurements, for not much longer than the others took, but as long as bytes move; in saves,
at the start and between stages what it reads and writes, and its processor time for a few seconds; and in the compiler
and in what rank 0 does alone such time, too, but as long as pieces are told of or the program comes to new lines
(:mod:`danlu.parallel.whereabouts`). Who fetches
something from elsewhere is waited for, and ends all by itself where nothing comes.

Whoever sees it first writes the verdict and says it; all leave. The main thread may be in a collective call by then,
which nothing interrupts: so two threads beside it do all this, one for the connection, one for the clock.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from danlu.parallel.activity import Activity
from danlu.parallel.patience import Watch
from danlu.parallel.signs import Sign, problem
from danlu.parallel.verdict import CONNECTION, LOST, Store, Verdict, in_short, pronounce, pronounced, say
from danlu.parallel.work import Work

BEAT = 1.0
"""Seconds between two signs of life."""
LOOK = 0.02
"""Seconds between two looks at whether the others are there, or have left."""


@dataclass
class Watchman:
    """The two threads of a rank.

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
    _over: threading.Event = field(default_factory=threading.Event)
    _heard: float = field(default_factory=time.monotonic)
    """When the store has answered last."""
    _signs: list[Sign] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.work = Work(self.settings, self.activity, self.calls)

    @property
    def name(self) -> str:
        """Of this rank."""
        return self.names[self.rank]

    def begin(self) -> None:
        """Start to watch and to be watched."""
        self._store = self.connect()
        now = time.monotonic()
        self._signs = [
            Sign(seen=now, moved=now, stirred=now, limit=self.settings.first, idle=self.settings.blocked)
            for _ in self.names
        ]
        self._threads = [
            threading.Thread(target=self._do, args=(each,), daemon=True) for each in (self._beat, self._judge)
        ]
        for thread in self._threads:
            thread.start()

    def wait_for_all(self) -> None:
        """At the end, until all ranks are there. Over the store: in a collective call nobody tells who hangs in it.

        Raises:
            RuntimeError: the store is gone.
        """
        store, keys = self.connect(), [f"end/{rank}" for rank in range(len(self.names))]
        store.set(keys[self.rank], "")
        with self.work.meeting():
            while not store.check(keys):
                time.sleep(LOOK)

    @contextmanager
    def leaving(self) -> Iterator[None]:
        """What comes after the end, when no other rank looks any more: this one ends itself where it hangs."""

        def hangs() -> None:
            say(f"{self.name} hangs as it leaves")
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
        return pronounce(self.connect, Verdict(self.rank, problem, code))

    def wait_for_verdict(self) -> None:
        """After an error that another rank's end has caused: the verdict names it and ends this process meanwhile."""
        if self._over.wait(self.settings.silent + 5 * BEAT):
            for thread in self._threads:  # one of them is about to end this process
                thread.join()

    def _do(self, part: Callable[[], None]) -> None:
        """What a thread does. Where it fails, that is a bug, and without it this rank would seem to be dead."""
        try:
            part()
        except Exception as error:
            traceback.print_exc()
            self._end_all(f"{self.name} failed ({in_short(error)})")

    def _beat(self) -> None:
        """Write and read signs, until the end; a store that does not answer leaves ``_heard`` as it was."""
        while not self._over.wait(BEAT):
            self.work.look()
            mine = json.dumps(self.work.told())
            try:
                self._store.set(_key(self.rank), mine)
                keys = [_key(rank) for rank in range(len(self.names))]
                theirs = [self._store.get(key) if self._store.check([key]) else None for key in keys]
                verdict = pronounced(self._store)
            except CONNECTION:
                return  # it is gone: the judge sees that nothing is heard any more
            for sign, said in zip(self._signs, theirs, strict=True):
                if said is not None:
                    sign.take(json.loads(said))
            self._heard = time.monotonic()
            if verdict is not None and not self._over.is_set():
                self._go(verdict.code)

    def _judge(self) -> None:
        last = time.monotonic()
        while not self._over.wait(BEAT / 2):
            now = time.monotonic()
            if now - last > 4 * BEAT:  # this process itself was stopped for a while: nobody else is to blame
                self._heard = self.work.brought = now
                for sign in self._signs:
                    sign.seen = sign.moved = sign.stirred = now
            last = now
            if now - self._heard > self.settings.silent:
                where = "the launcher" if self.keeper is None else self.names[self.keeper]
                say(f"{where} does not answer since {now - self._heard:.0f} s: it is dead or stopped")
                self._over.set()
                self.leave(LOST)  # without a word to the others: each of them sees the same
            elif wrong := self._problem(now):
                self._end_all(wrong)

    def _problem(self, now: float) -> str | None:
        """What is wrong with a rank, in words."""
        known, brought = self.settings, now - self.work.brought
        if self.work.fetches.fetching and brought > known.blocked:  # the others cannot see whether something comes
            return f"{self.name} hangs: nothing has come for {brought:.0f} s of what it fetches from elsewhere"
        return problem(
            self.names, self._signs, now, silent=known.silent, stuck=known.stuck, blocked=known.blocked
        )  # fmt: skip

    def _end_all(self, problem: str) -> None:
        """Say why, where no other rank has been faster, and leave."""
        if self.blame(problem, LOST):
            say(problem)
        self._go(LOST)

    def _go(self, code: int) -> None:
        self._over.set()
        try:
            self._take_leave(3 * BEAT)
        finally:
            self.leave(code)

    def _take_leave(self, seconds: float) -> None:
        """Tell the others; whose process the store is a part of waits until they have read what stands there."""
        until = time.monotonic() + seconds
        self.work.sign.left = True
        with contextlib.suppress(*CONNECTION):  # the store may have gone before, with its process
            store = self.connect()
            store.set(_key(self.rank), json.dumps(self.work.told()))
            others = [rank for rank in range(len(self.names)) if rank != self.rank]
            while self.keeper == self.rank and others and time.monotonic() < until:
                others = [rank for rank in others if not (store.check([_key(rank)]) and _has_left(store, rank))]
                time.sleep(LOOK)


def _has_left(store: Store, rank: int) -> bool:
    return bool(json.loads(store.get(_key(rank)))["left"])


def _key(rank: int) -> str:
    return f"sign/{rank}"

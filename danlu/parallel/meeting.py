"""Where the ranks that a launcher has started meet: a store that rank 0, or the launcher, keeps.

Each says who it is and waits until all have. Who has come and gives no sign of life any more, and whose process on this
machine is stopped, is named, as by the watch that begins when all are there.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import psutil
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, TCPStore

from danlu.errors import InputError
from danlu.parallel.absence import CONNECTING, attempt, heed, knock
from danlu.parallel.activity import Activity, threads
from danlu.parallel.calls import begun
from danlu.parallel.patience import Watch
from danlu.parallel.verdict import LOST, Verdict, pronounce, say
from danlu.parallel.watch import BEAT, Watchman
from danlu.parallel.world import World, read_world

MEETING = timedelta(minutes=10)
"""How long the ranks that have started wait for the last one."""
LOOK = 0.05
"""Seconds between two looks at who is there."""


def meet(world: World, watch: Watch) -> tuple[Watchman, PrefixStore]:
    """Wait until all ranks have said who they are; the watch that has still to begin, and the store.

    Raises:
        InputError: a rank did not come.
        SystemExit: one is dead or stopped, or has said why it does not come.
    """
    keeper = None if world.hosted else 0
    place = f"{world.address}:{world.port}"

    def connect(*, host: bool = False, timeout: timedelta = CONNECTING) -> PrefixStore:
        if not host:
            knock(world)
        store = TCPStore(world.address, world.port, is_master=host, timeout=timeout, wait_for_workers=False)
        return PrefixStore(attempt(world), store)

    before = threads()
    try:
        store = connect(host=True) if keeper == world.rank else _reached(connect, world, place, watch)
        answering = threads() - before if keeper == world.rank else frozenset[int]()
        keys = [f"name/{rank}" for rank in range(world.size)]
        store.set(keys[world.rank], f"rank {world.rank} (host {socket.gethostname()}, process {os.getpid()})")
        _Meeting(store, keys, world, place, watch).wait()
        names = [store.get(key).decode() for key in keys]
    except (OSError, dist.DistError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise InputError(f"rank {world.rank} of {world.size} cannot meet the others at {place}: {first}") from error
    return Watchman(connect, world.rank, names, watch, keeper, Activity(answering), begun), store


def _reached(connect: Callable[[], PrefixStore], world: World, place: str, watch: Watch) -> PrefixStore:
    """The store, once whoever keeps it is there."""
    started, stopped = time.monotonic(), dict[int, float]()
    while True:
        try:
            return connect()
        except (OSError, dist.DistError, RuntimeError):
            now = time.monotonic()
            if now - started > MEETING.total_seconds():
                raise
            stopped = {rank: stopped.get(rank, now) for rank in ([] if world.hosted else _stopped(world, [0]))}
            if any(now - since > watch.silent for since in stopped.values()):
                say(_stands_still(0, _stopped(world, [0]), place))
                raise SystemExit(LOST) from None
            time.sleep(LOOK)


@dataclass
class _Meeting:
    """Who has come, as one of the ranks sees it."""

    store: PrefixStore
    keys: list[str]
    world: World
    place: str
    watch: Watch
    _heard: dict[int, tuple[bytes, float]] = field(default_factory=dict)
    """Of others that have come: their last sign of life, and when it was new."""
    _stopped: dict[int, float] = field(default_factory=dict)
    """Of others that have not: since when their process stands still."""

    def wait(self) -> None:
        """Until all are there."""
        started = looked = time.monotonic()
        while not self.store.check(self.keys):
            heed(self.store, self.world, self.keys)
            now = time.monotonic()
            if now - started > MEETING.total_seconds():
                self._give_up()
            if now - looked > BEAT:
                looked = now
                self.store.set(f"here/{self.world.rank}", str(now))
                if problem := self._lost(now):
                    if self._is_first(problem, LOST):
                        say(problem)
                    raise SystemExit(LOST)
            time.sleep(LOOK)

    def _lost(self, now: float) -> str | None:
        missing = [rank for rank, key in enumerate(self.keys) if not self.store.check([key])]
        for rank in set(range(self.world.size)) - {self.world.rank, *missing}:
            if self.store.check([f"here/{rank}"]):
                sign = self.store.get(f"here/{rank}")
                last, since = self._heard.get(rank, (b"", now))
                self._heard[rank] = (sign, now if sign != last else since)
                if now - self._heard[rank][1] > self.watch.silent:
                    name = self.store.get(self.keys[rank]).decode()
                    return f"{name} gives no sign of life since {now - since:.0f} s: it is dead or stopped"
        stopped = _stopped(self.world, missing)
        self._stopped = {rank: self._stopped.get(rank, now) for rank in stopped}
        for rank, since in self._stopped.items():
            if now - since > self.watch.silent:
                return _stands_still(rank, stopped, self.place)
        return None

    def _give_up(self) -> None:
        missing = [str(rank) for rank, key in enumerate(self.keys) if not self.store.check([key])]
        who = f"{'ranks' if len(missing) > 1 else 'rank'} {', '.join(missing)}"
        problem = f"{who} of {self.world.size} did not come to {self.place} within {MEETING.total_seconds():g} s"
        if self.world.rank != 0 and "0" in missing and self._is_first(problem, InputError.exit_code):
            say(problem)  # else rank 0 does
        raise InputError(problem)

    def _is_first(self, problem: str, code: int) -> bool:
        """Whether no other rank has said it before."""
        return pronounce(lambda: self.store, Verdict(self.world.rank, problem, code))


def _stands_still(rank: int, processes: Mapping[int, int], place: str) -> str:
    where = f"host {socket.gethostname()}, process {processes.get(rank, 'unknown')}"
    return f"rank {rank} ({where}) has not come to {place}: it is stopped"


def _stopped(world: World, ranks: Iterable[int]) -> dict[int, int]:
    """Of these ranks those whose process is on this machine and stopped, as by SIGSTOP; with its number."""
    wanted, found = set(ranks), dict[int, int]()
    for process in psutil.process_iter(["status"]):
        if process.info["status"] == psutil.STATUS_STOPPED:
            with contextlib.suppress(psutil.Error, InputError):  # of somebody else, or gone
                its = read_world(process.environ())
                if its is not None and its.rank in wanted and (its.port, its.size) == (world.port, world.size):
                    found[its.rank] = process.pid
    return found

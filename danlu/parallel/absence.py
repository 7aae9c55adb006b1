"""A rank that fails before the ranks have met, as one that finds no recipe: it says so to those that wait for it."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from danlu.errors import DanluError, InputError
from danlu.parallel.verdict import LOST, Verdict, in_short, pronounce, pronounced
from danlu.parallel.world import World, read_world

if TYPE_CHECKING:
    from torch._C._distributed_c10d import PrefixStore

EXCUSE = 15.0
"""Seconds that it takes to tell the others."""
LOOK = 0.05
AGAIN = timedelta(seconds=3)
"""How long a rank tries to reach the store once more."""
CONNECTING = timedelta(seconds=15)
"""How long torch may take to connect with a store that is there: both ends look up each other's names, and a name
server that gives no answer is waited for 5 s, and asked twice."""


@contextmanager
def excused(environ: Mapping[str, str]) -> Iterator[None]:
    """Where this cannot be done, tell the ranks that wait at the meeting, as far as they can be reached.

    They leave with the error's exit code, and rank 0 shows it; its own it shows itself. Where all have the same error
    nobody waits.

    Raises:
        SystemExit: others wait, and the error is a bug, whose traceback is shown then.
    """
    try:
        yield
    except DanluError as error:
        if (world := _world(environ)) is not None:
            _excuse(world, str(error), error.exit_code)
        raise
    except Exception as error:
        if (world := _world(environ)) is None:
            raise
        traceback.print_exc()  # before the others leave: a launcher ends all processes once the first has ended
        _excuse(world, in_short(error), LOST)
        raise SystemExit(1) from None


def _world(environ: Mapping[str, str]) -> World | None:
    try:
        return read_world(environ)
    except InputError:  # then this process cannot know where the others would be
        return None


def _excuse(world: World, problem: str, code: int) -> None:
    with contextlib.suppress(Exception):  # what is wrong is this problem, not that nobody is there to be told
        _tell(world, problem, code, time.monotonic() + EXCUSE)


def _tell(world: World, problem: str, code: int, until: float) -> None:
    keeps = world.rank == 0 and not world.hosted
    if not keeps:
        _wait_for_store(world, until)
    from torch._C._distributed_c10d import PrefixStore, TCPStore  # which takes seconds where nobody waits

    kept = TCPStore(world.address, world.port, is_master=keeps, timeout=CONNECTING, wait_for_workers=False)
    store = PrefixStore(attempt(world), kept)
    name = f"rank {world.rank} (host {socket.gethostname()}, process {os.getpid()})"
    pronounce(lambda: store, Verdict(world.rank, problem, code, absent=name))
    store.set(f"left/{world.rank}", "")
    others = range(1, world.size) if keeps else [0]  # a launcher ends all processes once the first has ended
    _wait_until_left(store, others, until)


def _wait_for_store(world: World, until: float) -> None:
    while True:
        try:
            return knock(world)
        except RuntimeError:
            if time.monotonic() > until:
                raise
            time.sleep(LOOK)


def attempt(world: World) -> str:
    """Before the keys of the store: a launcher that starts the ranks again keeps it."""
    return f"danlu/{world.attempt}"


def knock(world: World) -> None:
    """See that the store is there: of one that is not, torch would tell in dozens of lines on standard error.

    Raises:
        RuntimeError: it cannot be reached, as torch has it.
    """
    try:
        socket.create_connection((world.address, world.port), timeout=AGAIN.total_seconds()).close()
    except OSError as error:
        raise RuntimeError(f"no connection to {world.address}:{world.port}: {error}") from error


def heed(store: PrefixStore, world: World, keys: Sequence[str]) -> None:
    """Leave if another rank has said why all do; rank 0 shows what one that does not come could not.

    Args:
        keys: of the ranks, where each that is there has said who it is.

    Raises:
        SystemExit: one has.
    """
    if (verdict := pronounced(store)) is None:
        return
    if world.rank == 0 and verdict.absent:
        print(f"danlu: error: on {verdict.absent}: {verdict.problem}", file=sys.stderr, flush=True)
    store.set(f"left/{world.rank}", "")
    if world.rank == 0 and not world.hosted:
        there = [rank for rank, key in enumerate(keys) if store.check([key])]  # which may still have to read it
        _wait_until_left(store, there, time.monotonic() + 1)
    raise SystemExit(verdict.code)


def _wait_until_left(store: PrefixStore, ranks: Sequence[int], until: float) -> None:
    """Of ranks that have still to read what stands in the store, which ends with this process."""
    while time.monotonic() < until and not store.check([f"left/{rank}" for rank in ranks]):
        time.sleep(LOOK)

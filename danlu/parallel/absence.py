"""A rank that fails before the ranks have met, as one that finds no recipe: it says so to those that wait for it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from danlu.errors import DanluError
from danlu.parallel.world import World, read_world

if TYPE_CHECKING:
    from torch._C._distributed_c10d import PrefixStore

EXCUSE = 15.0
"""Seconds that it takes to tell the others."""
LOOK = 0.05
AGAIN = timedelta(seconds=3)
"""How long a rank tries to reach the store once more."""
VERDICT = "verdict"
"""Where it stands in the store why all leave; whoever writes it first is right."""


@contextmanager
def excused(environ: Mapping[str, str]) -> Iterator[None]:
    """Where this cannot be done, tell the ranks that wait at the meeting, as far as they can be reached.

    They leave with the error's exit code, and rank 0 shows it; its own it shows itself. Where all have the same error
    nobody waits.
    """
    try:
        yield
    except DanluError as error:
        with contextlib.suppress(Exception):  # what is wrong is this error, not that nobody is there to be told
            if (world := read_world(environ)) is not None:
                _tell(world, error, time.monotonic() + EXCUSE)
        raise


def _tell(world: World, error: DanluError, until: float) -> None:
    keeps = world.rank == 0 and not world.hosted
    if not keeps:
        _wait_for_store(world, until)
    from torch._C._distributed_c10d import PrefixStore, TCPStore  # which takes seconds where nobody waits

    kept = TCPStore(world.address, world.port, is_master=keeps, timeout=AGAIN, wait_for_workers=False)
    store = PrefixStore(attempt(world), kept)
    name = f"rank {world.rank} (host {socket.gethostname()}, process {os.getpid()})"
    known = {"by": world.rank, "problem": str(error), "code": error.exit_code, "absent": name}
    store.compare_set(VERDICT, "", json.dumps(known))
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
    if not store.check([VERDICT]):
        return
    verdict: dict[str, Any] = json.loads(store.get(VERDICT))
    if world.rank == 0 and "absent" in verdict:
        print(f"danlu: error: on {verdict['absent']}: {verdict['problem']}", file=sys.stderr, flush=True)
    store.set(f"left/{world.rank}", "")
    if world.rank == 0 and not world.hosted:
        there = [rank for rank, key in enumerate(keys) if store.check([key])]  # which may still have to read it
        _wait_until_left(store, there, time.monotonic() + 1)
    raise SystemExit(verdict["code"])


def _wait_until_left(store: PrefixStore, ranks: Sequence[int], until: float) -> None:
    """Of ranks that have still to read what stands in the store, which ends with this process."""
    while time.monotonic() < until and not store.check([f"left/{rank}" for rank in ranks]):
        time.sleep(LOOK)

"""Whether this process does anything: processor time, bytes, work of processes that it has started.

One that waits for a lock, for another process or for ever does none of it; one that compiles, writes to a slow disk or
measures for a long time does, though nothing is told of it meanwhile.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from danlu.files import synced

WORKING = 0.03
"""Of a core: who has less time of it waits, also where he looks now and then whether the wait is over."""
LEAST_BYTES = 64
"""As many may seem to move because counters are read one after the other."""
COUNTED = ("rchar", "wchar", "read_bytes", "write_bytes")
"""Bytes as Linux counts them: of files, and of connections that are used like files, as that of a store is."""


def threads() -> frozenset[int]:
    """The numbers of all threads of this process; none where the system does not tell them."""
    return frozenset(int(path.name) for path in Path("/proc/self/task").glob("[0-9]*"))


def _seconds(aside: Iterable[int]) -> float:
    """Processor time of this process without that of the thread that asks, and of these."""
    return time.process_time() - time.thread_time() - sum(run_seconds(each) for each in aside)


def run_seconds(thread: int) -> float:
    """Processor time that a thread of this process has had; 0 where the system does not tell it."""
    try:
        return int(Path(f"/proc/self/task/{thread}/schedstat").read_text().split()[0]) / 1e9
    except OSError:
        return 0.0


def _bytes(aside: Iterable[int]) -> int:
    """0 where the system does not count them."""
    apart = (*aside, threading.get_native_id())
    return _counted(Path("/proc/self/io")) - sum(_counted(Path(f"/proc/self/task/{each}/io")) for each in apart)


def _counted(file: Path) -> int:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return 0
    told = dict(line.split(": ") for line in lines)
    return sum(int(told[name]) for name in COUNTED)


def _children_seconds() -> dict[int, float]:
    """Processor time of each process below this one, by its number."""
    found = {}
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            found[process.pid] = times.user + times.system
    return found


@dataclass
class Activity:
    """What this process has done since it was looked at last; that of the thread that looks is left out.

    Args:
        aside: threads whose work is not this process's own, as that of a store which all ranks ask.
    """

    aside: frozenset[int] = frozenset()
    carried: bool = False
    """Whether bytes have moved, when it was looked at last."""
    seconds: float = 0.0
    """Processor time that it took between the last two looks."""
    _children: dict[int, float] = field(init=False)

    def __post_init__(self) -> None:
        self._seen, self._children = self._counters(), _children_seconds()

    def _counters(self) -> tuple[float, float, int, int]:
        return time.monotonic(), _seconds(self.aside), _bytes(self.aside), synced()

    def seen(self, *, computing: bool = True) -> bool:
        """Whether there was any. Processes that this one has started are looked at only where it does nothing.

        Args:
            computing: whether processor time is activity; else only bytes are.
        """
        looked, seconds, moved, pieces = self._seen
        self._seen = self._counters()
        now, seconds_now, moved_now, pieces_now = self._seen
        least = WORKING * (now - looked)
        self.seconds = seconds_now - seconds
        self.carried = moved_now - moved > LEAST_BYTES or pieces_now != pieces
        if self.carried:
            return True
        return computing and (self.seconds > least or self._children_worked(least))

    def _children_worked(self, least: float) -> bool:
        """Whether they have, since they were looked at; a new one, in all its time."""
        before, self._children = self._children, _children_seconds()
        return sum(max(0.0, spent - before.get(each, 0.0)) for each, spent in self._children.items()) > least


def waits_for_disk() -> bool:
    """Whether the system lets a thread wait for a disk, or for what lies on a server; known on Linux only."""
    for stat in Path("/proc/self/task").glob("*/stat"):
        with contextlib.suppress(OSError):  # a thread that has ended meanwhile
            if stat.read_text(errors="replace").rpartition(")")[2].split()[0] == "D":
                return True
    return False

"""A thread that turns in a ring is told from one that comes to new lines, by its processor time."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from danlu.parallel.whereabouts import Whereabouts

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell the time of a thread")

BRANCHES = 60


def ring(over: threading.Event) -> None:
    while not over.is_set():
        pass


def ever_new(over: threading.Event) -> None:
    """Some seconds of a program that has many lines, one after the other."""
    lines = "\n".join(f" for _ in range(10**6):\n  if over.is_set(): return" for _ in range(BRANCHES))
    exec(f"def work(over):\n{lines}", found := {})  # noqa: S102 (a program of many lines)
    found["work"](over)


@contextmanager
def doing(work: Callable[[threading.Event], None]) -> Iterator[Whereabouts]:
    """The whereabouts of a thread that does ``work``, while it does."""
    over, made = threading.Event(), list[Whereabouts]()
    there = threading.Event()

    def run() -> None:
        made.append(Whereabouts())
        there.set()
        work(over)

    thread = threading.Thread(target=run)
    thread.start()
    there.wait()
    yield made[0]
    over.set()
    thread.join()


def look(at: Whereabouts, times: int) -> list[float]:
    """How long it has turned, seen again and again."""
    found = []
    for _ in range(times):
        threading.Event().wait(0.1)
        at.look()
        found.append(at.turning)
    return found


def test_a_ring_is_seen_by_the_time_that_it_takes() -> None:
    with doing(ring) as at:
        look(at, 3)
        at.came_on()
        turned = look(at, 5)
        assert turned == sorted(turned)
        assert turned[-1] > 0
        at.forget()
        assert at.turning == 0
        [first, *_] = look(at, 2)
        assert first == 0, "other work has begun: its first lines are new"


def test_who_comes_to_new_lines_does_not_turn() -> None:
    with doing(ever_new) as at:
        assert min(look(at, 8)[-4:]) == 0


def test_who_waits_does_not_turn() -> None:
    with doing(lambda over: [over.wait()] and None) as at:
        look(at, 2)
        at.came_on()
        assert look(at, 5)[-1] < 0.05

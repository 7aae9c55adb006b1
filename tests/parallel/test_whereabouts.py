"""A thread that turns in a ring is told from one that comes to new lines, by its processor time."""

from __future__ import annotations

import gc
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


def wait(over: threading.Event) -> None:
    over.wait()


def ever_new(over: threading.Event) -> None:
    """Some seconds of a program that has many lines, one after the other."""
    lines = "\n".join(" for _ in range(10**6):\n  if over.is_set(): return" for _ in range(BRANCHES))
    exec(f"def work(over):\n{lines}", found := {})  # a program of many lines
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
    try:
        yield made[0]
    finally:
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
    with doing(wait) as at:
        look(at, 2)
        at.came_on()
        assert look(at, 5)[-1] < 0.05


def test_the_thread_that_begins_other_work_is_looked_at() -> None:
    """As the one in which torch compiles a backward pass, for which the main one waits."""
    at, over = Whereabouts(), threading.Event()

    def compile_for_ever() -> None:
        at.forget()
        ring(over)

    thread = threading.Thread(target=compile_for_ever)
    thread.start()
    try:
        assert look(at, 12)[-1] > 0.1
        at.forget()
        assert look(at, 4)[-1] < 0.05, "this thread sleeps"
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("collects", [True, False])
def test_no_garbage_is_collected_while_threads_are_listed(collects: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finalizer that runs then may stop the process for ever (python/cpython#106883)."""
    real, seen = sys._current_frames, list[bool]()

    def listed() -> object:
        seen.append(gc.isenabled())
        return real()

    monkeypatch.setattr(sys, "_current_frames", listed)
    at = Whereabouts()
    before = gc.isenabled()
    try:
        (gc.enable if collects else gc.disable)()
        at.look()
        assert (seen, gc.isenabled()) == ([False], collects)
    finally:
        (gc.enable if before else gc.disable)()

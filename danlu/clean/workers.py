"""One function over many things, in this process or in others; which of them does what changes nothing."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any, TypeVar

from danlu.orphans import end_with_parent

T = TypeVar("T")
R = TypeVar("R")


def work_through(make: Callable[[], Callable[[T], R]], things: Sequence[T], *, workers: int | None) -> Iterator[R]:
    """What the function that ``make`` returns makes of each of ``things``, as they are done.

    Args:
        make: picklable; called once a process, so that what is costly to have is made once there.
        workers: processes; all cores by default. With one, and for one thing, this process does it.

    Raises:
        Exception: whatever the function raised first; what has not begun then is left.
    """
    most = min(len(things), workers or len(os.sched_getaffinity(0)))
    if most <= 1:
        yield from map(make(), things) if things else ()
        return
    spawn = multiprocessing.get_context("spawn")  # threads of libraries do not survive a fork
    with ProcessPoolExecutor(most, mp_context=spawn, initializer=_begin, initargs=(make,)) as pool:
        try:
            for done in as_completed([pool.submit(_do, thing) for thing in things]):
                yield done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise


_work: Callable[[Any], Any]
"""Of a process that works for another."""


def _begin(make: Callable[[], Callable[[Any], Any]]) -> None:
    global _work  # noqa: PLW0603 (the one place that a pool's processes have for what they keep)
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that waits for this one is interrupted, and ends it
    _work = make()


def _do(thing: Any) -> Any:
    return _work(thing)

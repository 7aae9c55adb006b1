"""Functions over many things, in this process or in others; which of them does what changes nothing."""

from __future__ import annotations

import multiprocessing
import pickle
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from types import TracebackType
from typing import Any, Self, TypeVar

from danlu.errors import DanluError
from danlu.machine import cores
from danlu.orphans import end_with_parent

T = TypeVar("T")
R = TypeVar("R")


class ProcessDiedError(DanluError):
    """A process that worked for this one is gone."""


class Workers:
    """Processes that begin with the first work that several can share; use it as a context manager.

    Args:
        stage: whose work it is, which has the setting ``workers``.
        most: how many; as many as there are cores by default. With one, this process does it all.
    """

    def __init__(self, stage: str, most: int | None = None) -> None:
        self._stage, self.most = stage, most or cores()
        self._pool: ProcessPoolExecutor | None = None

    def work_through(self, make: Callable[[], Callable[[T], R]], things: Sequence[T]) -> Iterator[R]:
        """What the function that ``make`` returns makes of each of ``things``, as they are done.

        Args:
            make: picklable; called once a process, so that what is costly to have is made once there.

        Raises:
            ProcessDiedError: a process was killed.
            Exception: whatever the function raised first; what has not begun then is left.
        """
        if min(len(things), self.most) <= 1:
            yield from map(make(), things) if things else ()
            return
        if self._pool is None:
            spawn = multiprocessing.get_context("spawn")  # threads of libraries do not survive a fork
            self._pool = ProcessPoolExecutor(self.most, mp_context=spawn, initializer=_begin)
        pickled = pickle.dumps(make)
        try:
            for done in as_completed([self._pool.submit(do, pickled, thing) for thing in things]):
                yield done.result()
        except BrokenProcessPool as error:
            raise ProcessDiedError(
                f"a process of {self._stage} was killed, perhaps for want of memory: choose fewer {self._stage}.workers"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is None:
            return
        self._pool.shutdown(wait=kind is None, cancel_futures=True)
        if kind is not None:  # what they are at is of no use
            for process in multiprocessing.active_children():
                process.terminate()


def _begin() -> None:
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that waits for this one is interrupted, and ends it


@lru_cache(maxsize=1)
def _made(pickled: bytes) -> Callable[[Any], Any]:
    made: Callable[[Any], Any] = pickle.loads(pickled)()
    return made


def do(pickled: bytes, thing: Any) -> Any:
    """What the function that a pickled ``make`` returns makes of ``thing``; the function is kept for the next."""
    return _made(pickled)(thing)

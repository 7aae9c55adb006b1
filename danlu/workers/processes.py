"""Functions over many things, in this process or in others; which of them does what changes nothing.

Each process is given one thing after the other over a pipe of its own, so that it is known what one was at that is
killed, as the system does where memory is short: another does it again, once.
"""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Any, Self, TypeVar

from danlu import log
from danlu.errors import DanluError
from danlu.machine import cores
from danlu.orphans import end_with_parent

T = TypeVar("T")
R = TypeVar("R")

ATTEMPTS = 2
"""How many processes may die of one thing."""


class ProcessDiedError(DanluError):
    """A process that worked for this one is gone."""


@dataclass(frozen=True)
class Raised:
    """What a function raised."""

    error: Exception


@dataclass(eq=False)
class _Worker:
    """A process, and this end of its pipe."""

    process: SpawnProcess
    pipe: Connection

    @classmethod
    def begin(cls, stage: str) -> _Worker:
        context = multiprocessing.get_context("spawn")  # threads of libraries do not survive a fork
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, stage), name=f"danlu {stage}")
        # Ctrl-C comes to all at once, and the process that waits for this one ends it: it hears nothing from the start.
        resource_tracker.ensure_running()  # which would unblock the signal again as it begins
        heard = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, heard)
        theirs.close()  # so that the pipe ends when the process does
        return cls(process, ours)

    def ask(self, made_by: bytes, thing: Any) -> None:
        """Give it a thing; where it is gone, that is seen when the answer does not come."""
        try:
            self.pipe.send((made_by, thing))
        except OSError:
            self.pipe.close()

    def answer(self) -> Any:
        """What it sent, once there is something.

        Raises:
            EOFError: it is gone.
        """
        try:
            return pickle.loads(self.pipe.recv_bytes())
        except OSError as error:  # killed in the middle of its answer
            raise EOFError from error

    def end(self, *, at_once: bool) -> None:
        """Let it go: what it is at is of no use, or it has nothing to do."""
        if at_once:
            self.process.terminate()
        self.pipe.close()
        self.process.join()


class Workers:
    """Processes that begin with the first work that several can share; use it as a context manager.

    Args:
        stage: whose work it is, which has the setting ``workers``.
        most: how many; as many as there are cores by default. With one, this process does it all.
    """

    def __init__(self, stage: str, most: int | None = None) -> None:
        self._stage, self.most = stage, most or cores()
        self._workers: list[_Worker] = []

    def work_through(
        self, make: Callable[[], Callable[[T], R]], things: Sequence[T], *, named: Callable[[T], str] = str
    ) -> Iterator[R]:
        """What the function that ``make`` returns makes of each of ``things``, as they are done.

        Args:
            make: picklable; called once a process, so that what is costly to have is made once there.
            named: what a user calls one of them.

        Raises:
            ProcessDiedError: processes were killed, one after the other, at the same thing.
            Exception: whatever the function raised first; what has not begun then is left.
        """
        if min(len(things), self.most) <= 1:
            yield from map(make(), things) if things else ()
            return
        made_by = pickle.dumps(make)
        left, deaths = deque(enumerate(things)), Counter[int]()
        at_work: dict[_Worker, tuple[int, T]] = {}
        try:
            while left or at_work:
                for worker in self._free(len(left), at_work):
                    at_work[worker] = left.popleft()
                    worker.ask(made_by, at_work[worker][1])
                for worker in _ended(at_work):
                    number, thing = at_work.pop(worker)
                    try:
                        done = worker.answer()
                    except EOFError:
                        self._let_go(worker, at_once=False)
                        deaths[number] += 1
                        self._tell(named(thing), worker.process.exitcode, last=deaths[number] == ATTEMPTS)
                        left.appendleft((number, thing))
                        continue
                    if isinstance(done, Raised):
                        raise done.error
                    yield done
        finally:  # whoever asks next must not be answered by one that is still at this
            for worker in at_work:
                self._let_go(worker, at_once=True)

    def _let_go(self, worker: _Worker, *, at_once: bool) -> None:
        self._workers.remove(worker)
        worker.end(at_once=at_once)

    def _free(self, wanted: int, at_work: dict[_Worker, Any]) -> list[_Worker]:
        """As many as can have something to do, some of which may begin only now."""
        for worker in [each for each in self._workers if not (each in at_work or each.process.is_alive())]:
            self._let_go(worker, at_once=False)
        free = [worker for worker in self._workers if worker not in at_work]
        room = self.most - len(self._workers)
        new = [_Worker.begin(self._stage) for _ in range(min(room, wanted - len(free)))]
        self._workers += new
        return [*free, *new][:wanted]

    def _tell(self, name: str, exit_code: int | None, *, last: bool) -> None:
        """Say that a process died of a thing.

        Raises:
            ProcessDiedError: it was the ``last`` that may.
        """
        if exit_code == -signal.SIGKILL:
            how = "was killed, perhaps for want of memory,"
        elif exit_code is not None and exit_code < 0:
            how = f"crashed ({signal.Signals(-exit_code).name})"
        else:
            how = f"ended with exit code {exit_code}"
        if not last:
            log.say(f"{self._stage}: a process {how} at {name}; another one tries it again")
            return
        todo = f"choose fewer {self._stage}.workers, or leave it out; the same command goes on from here"
        raise ProcessDiedError(f"{self._stage}: a process {how} at {name}, after another one had died of it: {todo}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in list(self._workers):
            self._let_go(worker, at_once=kind is not None)


def _ended(at_work: dict[_Worker, Any]) -> list[_Worker]:
    """Those that have answered or are gone, at least one."""
    gone = [worker for worker in at_work if worker.pipe.closed]
    if gone:
        return gone
    pipes = {worker.pipe: worker for worker in at_work}
    return [pipes[pipe] for pipe in wait(list(pipes)) if isinstance(pipe, Connection)]


def _serve(pipe: Connection, stage: str) -> None:
    """What a process does: one thing after the other, until the pipe ends."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            made_by, thing = pipe.recv()
        except (EOFError, OSError):  # also where what was answered last was not read
            return
        try:
            answer = pickle.dumps(do(made_by, thing))
        except Exception as error:
            answer = _pickled(error, stage)
        try:
            pipe.send_bytes(answer)
        except OSError:  # nobody waits for it any more
            return


def _pickled(error: Exception, stage: str) -> bytes:
    """An error with the place where it was raised as a note; in words, where it cannot be sent as it is."""
    error.add_note(f"in a process of {stage}:\n{traceback.format_exc()}")
    try:
        pickled = pickle.dumps(Raised(error))
        pickle.loads(pickled)
    except Exception:
        return pickle.dumps(Raised(RuntimeError("".join(traceback.format_exception(error)))))
    return pickled


@lru_cache(maxsize=1)
def _made(pickled: bytes) -> Callable[[Any], Any]:
    made: Callable[[Any], Any] = pickle.loads(pickled)()
    return made


def do(pickled: bytes, thing: Any) -> Any:
    """What the function that a pickled ``make`` returns makes of ``thing``; the function is kept for the next."""
    return _made(pickled)(thing)

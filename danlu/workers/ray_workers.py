"""The same work as of ``Workers``, on the processes of a Ray cluster; a process or a machine that is lost costs time.

Each process is an actor of one core that is given one thing after the other, so that little is under way at once and
what was costly to make is kept. What a lost one was at is done by another: every pass gives the same bytes each time,
and what it writes appears whole.
"""

from __future__ import annotations

import os
import pickle
import platform
import secrets
import socket
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from danlu import __version__, log
from danlu.errors import InputError
from danlu.machine import version
from danlu.workers.cluster import connected, first_line, load_ray
from danlu.workers.processes import ProcessDiedError, Raised, do

T = TypeVar("T")
R = TypeVar("R")

ATTEMPTS = 3
"""How many processes may die of one thing, and at their beginning in a row."""
SECONDS_TO_APPEAR = 10.0
"""How long a file that one machine writes may take to be seen by another."""
SECONDS_OF_SILENCE = 15.0
"""After so long without any process the user is told what is waited for."""


@dataclass(frozen=True)
class Greeting:
    """What a process is told first."""

    folder: Path
    """Where the command was given, which relative paths begin at."""
    mark: Path
    """A file in the folder of the stage, which every machine has to see."""
    versions: dict[str, str | None]
    """Of all that may change what comes out, Danlu and Python first."""


class RayWorker:
    """The actor; Ray calls one method at a time."""

    def begin(self, greeting: Greeting) -> Raised | None:
        """Go where the command was given, and see whether the disk and the versions are those of whoever gave it."""
        if greeting.folder.is_dir():
            os.chdir(greeting.folder)
        host = socket.gethostname()
        here, there = versions(greeting.versions), greeting.versions
        if other := [name for name in there if here.get(name) != there[name]]:
            has, wanted = (", ".join(f"{name} {of.get(name) or 'not'}" for name in other) for of in (here, there))
            return Raised(InputError(f"--ray: the machine {host} has {has}; this one has {wanted}"))
        if not _appears(greeting.mark):
            where = f"the machine {host} does not see {greeting.mark.parent}"
            return Raised(InputError(f"--ray: {where}: run_dir and sources must lie on a disk that all machines share"))
        return None

    def do(self, made_by: bytes, thing: Any) -> Any:
        """What the function makes of it, or what it raised, with the place as a note."""
        try:
            return do(made_by, thing)
        except Exception as error:
            error.add_note(f"on the machine {socket.gethostname()}:\n{traceback.format_exc()}")
            return Raised(error)


class RayWorkers:
    """As many actors as the cluster has cores; use it as a context manager.

    Args:
        stage: whose work it is, which has the setting ``workers``.
        most: how many; by default as many as the cluster has cores.
        address: ``local`` for a cluster that begins and ends with the ``with``; else as ``ray.init`` takes it.
        out: the folder that all machines write to.
        packages: those whose versions may change what comes out.
    """

    def __init__(self, stage: str, most: int | None, *, address: str, out: Path, packages: Sequence[str]) -> None:
        self._stage, self._address, self._most, self._out = stage, address, most, out
        self._versions = versions(packages)
        self._stack = ExitStack()
        self._ready: list[Any] = []
        self._beginning: dict[Any, Any] = {}
        self._failed_beginnings = 0

    def __enter__(self) -> Self:
        self._ray = load_ray("ray")
        with ExitStack() as stack:
            stack.enter_context(connected(self._ray, self._address, self._most or 1))
            mark = self._out.absolute() / f".seen-by-all-{secrets.token_hex(8)}"
            mark.touch()
            stack.callback(mark.unlink, missing_ok=True)
            self._greeting = Greeting(Path.cwd(), mark, self._versions)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def work_through(
        self, make: Callable[[], Callable[[T], R]], things: Sequence[T], *, named: Callable[[T], str] = str
    ) -> Iterator[R]:
        """What the function that ``make`` returns makes of each of ``things``, as they are done.

        Args:
            make: picklable; called once a process, so that what is costly to have is made once there.
            named: what a user calls one of them.

        Raises:
            ProcessDiedError: processes were lost again and again, at one thing or before they began.
            InputError: a machine does not see the folder, or has other versions.
            Exception: whatever the function raised first; what has not begun then is left.
        """
        ray, made_by = self._ray, pickle.dumps(make)
        left, deaths = deque(enumerate(things)), Counter[int]()
        at_work: dict[Any, tuple[Any, int, T]] = {}
        while left or at_work:
            self._enlist(len(left) + len(at_work), len(at_work))
            while left and self._ready:
                worker, (number, thing) = self._ready.pop(), left.popleft()
                at_work[worker.do.remote(made_by, thing)] = worker, number, thing
            for reference in self._wait([*at_work, *self._beginning]):
                if reference in self._beginning:
                    self._begun(reference)
                    continue
                worker, number, thing = at_work.pop(reference)
                try:
                    done = ray.get(reference)
                except ray.exceptions.RayTaskError:
                    raise
                except ray.exceptions.RayError as error:
                    deaths[number] += 1
                    if deaths[number] == ATTEMPTS:
                        raise self._given_up(f"{ATTEMPTS} processes were lost at {named(thing)}", error) from error
                    left.appendleft((number, thing))
                    lost = f"{self._stage}: a process of Ray was lost at {named(thing)}"
                    log.say(f"{lost}; another does its work ({first_line(error)})")
                    continue
                self._ready.append(worker)
                if isinstance(done, Raised):
                    raise done.error
                yield done

    def _enlist(self, needed: int, at_work: int) -> None:
        """Ask for as many processes as can have something to do; those that died are replaced by this too."""
        wanted = min(needed, self._most or self._cores())
        for _ in range(wanted - len(self._ready) - at_work - len(self._beginning)):
            actor = self._ray.remote(num_cpus=1, scheduling_strategy="SPREAD")(RayWorker).remote()
            self._beginning[actor.begin.remote(self._greeting)] = actor

    def _cores(self) -> int:
        return max(1, int(self._ray.cluster_resources().get("CPU", 0)))

    def _begun(self, reference: Any) -> None:
        """One process more, unless it died or must not work."""
        actor = self._beginning.pop(reference)
        try:
            problem = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            self._failed_beginnings += 1
            if self._failed_beginnings == ATTEMPTS:
                raise self._given_up(f"{ATTEMPTS} processes in a row could not begin", error) from error
            return
        if problem is not None:
            raise problem.error
        self._failed_beginnings = 0
        self._ready.append(actor)

    def _wait(self, references: list[Any]) -> list[Any]:
        """Those that have ended, at least one; who waits long for the first process is told why."""
        only_beginning = len(references) == len(self._beginning)
        ended, _ = self._ray.wait(references, timeout=SECONDS_OF_SILENCE if only_beginning else None)
        if not ended:
            log.say(f"{self._stage}: the cluster has no free core yet: waiting for one, or for more machines")
            ended, _ = self._ray.wait(references)
        found: list[Any] = ended
        return found

    def _given_up(self, what: str, error: Exception) -> ProcessDiedError:
        why = f"perhaps for want of memory: choose fewer {self._stage}.workers"
        return ProcessDiedError(f"--ray: {what} ({first_line(error)}), {why}")


def versions(packages: Iterable[str]) -> dict[str, str | None]:
    """Of Danlu, of Python, and of packages; None of one that is not installed."""
    own = {"danlu": __version__, "Python": platform.python_version()}
    return {**own, **{name: version(name) for name in packages if name not in own}}


def _appears(path: Path) -> bool:
    until = time.monotonic() + SECONDS_TO_APPEAR
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.1)
    return path.exists()

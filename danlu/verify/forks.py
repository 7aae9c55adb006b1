"""Functions in processes of their own, which may be killed: forked from one that has everything imported.

A function is found by its module and name, so it must be one of a module's own.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

PRELOADED = ["torch._dynamo", "danlu.verify.sample", "danlu.train.run", "danlu.optim.adamw", "danlu.optim.schedules"]
_server = multiprocessing.get_context("forkserver")


@dataclass
class Fork:
    """A process that was started."""

    process: Any
    pipe: Connection
    said: Path
    """What it says, errors too."""

    @property
    def pid(self) -> int:
        return int(self.process.pid)

    @property
    def running(self) -> bool:
        return bool(self.process.is_alive())

    def kill(self) -> int:
        """kill -9, and its exit code."""
        self.process.kill()
        self.process.join()
        return int(self.process.exitcode)

    def exit_code(self, *, seconds: float) -> int | None:
        """Once it has ended; None where it has not after so long."""
        self.process.join(seconds)
        return None if self.process.exitcode is None else int(self.process.exitcode)

    def result(self, *, seconds: float) -> Any:
        """What its function returns.

        Raises:
            RuntimeError: it ended otherwise, or has not ended after so long.
        """
        try:
            if not self.pipe.poll(seconds):
                raise RuntimeError(f"no result after {seconds:.0f} s")
            good, result = pickle.loads(self.pipe.recv_bytes())
        except EOFError:
            self.process.join()
            said = self.said.read_text(encoding="utf-8", errors="replace")[-1000:]
            raise RuntimeError(f"exit code {self.process.exitcode} and no result: {said}") from None
        finally:
            self.process.join(0 if self.running and not self.pipe.poll(0) else 10)
            self.kill()
        if not good:
            raise RuntimeError(str(result))
        return result


def start(
    function: Callable[..., Any], *arguments: Any, said: Path, environment: Mapping[str, str] | None = None
) -> Fork:
    """``function(*arguments)`` in a process of its own, with one thread."""
    _server.set_forkserver_preload(PRELOADED)
    mine, theirs = _server.Pipe(duplex=False)
    process = _server.Process(
        target=_do, args=(theirs, function, arguments, said, dict(environment or {})), daemon=True
    )  # fmt: skip
    process.start()
    theirs.close()
    return Fork(process, mine, said)


def wait_until(moment: Callable[[], bool], *, fork: Fork, seconds: float = 60.0) -> bool:
    """Whether the moment has come while the process was there."""
    until = time.monotonic() + seconds
    while fork.running and time.monotonic() < until:
        if moment():
            return True
        time.sleep(0.0005)
    return False


def _do(
    pipe: Connection, function: Callable[..., Any], arguments: Any, said: Path, environment: dict[str, str]
) -> None:
    import torch

    os.environ.update(environment)
    sys.stdout.flush()
    for descriptor in (1, 2):
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), descriptor)
    torch.set_num_threads(1)
    try:
        pipe.send_bytes(pickle.dumps((True, function(*arguments))))
    except SystemExit:
        raise
    except BaseException:
        traceback.print_exc()
        pipe.send_bytes(pickle.dumps((False, traceback.format_exc())))

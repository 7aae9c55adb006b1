"""A measurement in a process of its own returns what it found, or says in one line that the process died."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from danlu.train.own_process import ProcessDiedError, in_own_process


def test_it_is_another_process() -> None:
    assert in_own_process(os.getpid) != os.getpid()


def test_a_process_that_dies_is_told_in_one_line() -> None:
    with pytest.raises(ProcessDiedError, match=r"^the process that timed the steps died, [^\n]*micro_batch$"):
        in_own_process(os._exit, 9)


def note_and_wait(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    time.sleep(60)


def begin(path: str) -> None:
    in_own_process(note_and_wait, path)


def test_it_ends_with_the_process_that_waits_for_it(tmp_path: Path) -> None:
    """However that ends: a measurement holds the memory of a whole training."""
    noted = tmp_path / "process"
    parent = subprocess.Popen(
        [sys.executable, "-c", f"from test_own_process import begin; begin({str(noted)!r})"],
        cwd=Path(__file__).parent,
    )
    until(lambda: noted.exists() and noted.read_text() != "")
    child = int(noted.read_text())
    assert runs(child)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    until(lambda: not runs(child))


def runs(process: int) -> bool:
    """Whether it is there, and not only because nobody has asked how it ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(true: Callable[[], bool]) -> None:
    for _ in range(600):
        if true():
            return
        time.sleep(0.05)
    pytest.fail("it did not come true within half a minute")

"""Who holds a lock on a file of a folder is known; who waits for one is not taken for it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from danlu.parallel.locks import LOCKS, holders

LOCK = """
import fcntl, sys
with open(sys.argv[1], "w") as file:
    print("begins", flush=True)
    fcntl.flock(file, fcntl.LOCK_EX)
    print("has it", flush=True)
    input()
"""


@pytest.mark.skipif(not LOCKS.exists(), reason="the system tells of no locks")
def test_who_holds_a_lock_is_told_from_who_waits(tmp_path: Path) -> None:
    folder = tmp_path / "locks"
    assert holders(folder) == set(), "there is no such folder yet"
    folder.mkdir()
    command = [sys.executable, "-c", LOCK]
    with (
        subprocess.Popen([*command, folder / "a.lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first,
        subprocess.Popen([*command, tmp_path / "b.lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as elsewhere,
    ):
        for process in (first, elsewhere):
            assert process.stdout is not None
            assert [process.stdout.readline() for _ in range(2)] == [b"begins\n", b"has it\n"]
        with subprocess.Popen([*command, folder / "a.lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as second:
            assert second.stdout is not None and second.stdout.readline() == b"begins\n"
            until = time.monotonic() + 10
            while "-> FLOCK" not in LOCKS.read_text():
                assert time.monotonic() < until
                time.sleep(0.02)
            assert holders(folder) == {first.pid}
            first.communicate(b"\n")
            assert second.stdout.readline() == b"has it\n"
            assert holders(folder) == {second.pid}
            second.communicate(b"\n")
        elsewhere.communicate(b"\n")
    assert holders(folder) == set()

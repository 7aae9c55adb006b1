"""A command with all processes that it starts: how long it takes, and how much memory they hold at once at most."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from process import OFFLINE, environment
from report import NotMeasuredError

EVERY = 0.1
"""Seconds between two looks at the memory."""
_TAIL = 2000


@dataclass(frozen=True)
class Ran:
    """What a command took."""

    seconds: float
    peak_bytes: int
    """What all its processes held at once at most; what several share is counted once (Linux's ``Pss``)."""


def run_command(command: Sequence[str]) -> Ran:
    """Run a command to its end.

    Raises:
        NotMeasuredError: it failed; with the end of what it printed.
    """
    with TemporaryFile() as printed, environment(OFFLINE):
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT)
        peak = 0
        while process.poll() is None:
            peak = max(peak, sum(map(_bytes_of, _family(process.pid))))
            time.sleep(EVERY)
        seconds = time.perf_counter() - began
        if process.returncode:
            printed.seek(max(0, printed.tell() - _TAIL))
            raise NotMeasuredError(f"{' '.join(command)}: {printed.read().decode(errors='replace')}")
    return Ran(seconds, peak)


def _family(first: int) -> list[int]:
    """A process and all that descend from it."""
    found = [first]
    for process in found:
        for task in Path(f"/proc/{process}/task").glob("*/children"):
            try:
                found += map(int, task.read_text().split())
            except OSError:  # it has ended
                continue
    return found


def _bytes_of(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))

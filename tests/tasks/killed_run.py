"""A stage that is killed and goes on: what the tests of resuming share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path


def command(stage: str, recipe: Path) -> list[str]:
    return [sys.executable, "-m", "danlu", stage, str(recipe)]


def kill_at(started: Sequence[str], metrics: Path, *, lines: int) -> None:
    """Start a command, and kill it once a training has written so many lines of metrics."""
    with subprocess.Popen(started, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while process.poll() is None and (not metrics.exists() or metrics.read_text().count("\n") < lines):
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)


def killed_and_whole(stage: str, recipe: Path, tmp_path: Path, *, lines: int) -> tuple[Path, Path]:
    """The stage's folders of a training that was killed and went on, and of one that was not.

    Args:
        recipe: one whose ``run_dir`` is ``tmp_path / "run"``.
    """
    own = command(stage, recipe)
    assert subprocess.run([*own, f"run_dir={tmp_path / 'whole'}"], check=False, capture_output=True).returncode == 0
    killed = tmp_path / "run" / stage
    kill_at(own, killed / "metrics.jsonl", lines=lines)
    assert not (killed / "done.json").exists()
    again = subprocess.run(own, check=False, capture_output=True, text=True)
    assert again.returncode == 0 and "going on after step" in again.stdout
    return killed, tmp_path / "whole" / stage

"""A save that is killed or refused at any moment leaves the checkpoint before it or the new one, never neither."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parent / "crashing_saves.py"


def crash(folder: Path, *, every: int) -> dict[str, dict[str, int]]:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(folder), str(every)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


def check(seen: dict[str, dict[str, int]], *, every: int) -> None:
    assert len(seen) == 8
    for name, steps in seen.items():
        least = 20 if name.startswith("load") else 60  # fewer moments would mean that some are not watched any more
        assert sum(steps.values()) >= least // every, name
        # The program has checked each; here only that crashes before and after the rename were among them.
        assert set(steps) == {"5"} if name.startswith("load") else len(steps) == 2, (name, steps)


def test_a_crash_leaves_the_old_or_the_new_checkpoint(tmp_path: Path) -> None:
    check(crash(tmp_path, every=7), every=7)


@pytest.mark.slow
def test_a_crash_at_every_single_moment(tmp_path: Path) -> None:
    seen = crash(tmp_path, every=1)
    check(seen, every=1)

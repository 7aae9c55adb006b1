"""A disk of its own that is too small: the training goes on, says so, and ends well once there is room."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import subprocess, sys
from danlu.cli import main
disk, *command = sys.argv[1:]
print("code", main(command))
subprocess.run(["ls", "-A", f"{disk}/run/pretrain", f"{disk}/run/pretrain/checkpoints"], check=True)
print("more room", flush=True)
subprocess.run(["mount", "-o", "remount,size=100m", disk], check=True)
print("code", main(command))
"""


def can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    tried = subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/tmp"], capture_output=True, check=False)
    return tried.returncode == 0


@pytest.mark.skipif(not can_mount(), reason="this user may not mount a file system")
@pytest.mark.parametrize("background", ["false", "true"])
def test_a_full_disk(background: str, packed: Path, tmp_path: Path) -> None:
    before = sum(-(-path.stat().st_size // 4096) * 4 for path in (packed / "run").rglob("*") if path.is_file())
    disk = tmp_path / "disk"
    disk.mkdir()
    room = before + 620  # kilobytes: two checkpoints of 244, and no third
    script = f'mount -t tmpfs -o size={room}k none "$1" && cp -r "$2" "$1/run" && shift 2 && exec "$@"'
    command = ["pretrain", packed / "recipe.yaml", f"run_dir={disk / 'run'}", f"pretrain.save.background={background}"]
    within = ["unshare", "-rm", "sh", "-c", script, "sh", disk, packed / "run"]
    done = subprocess.run(
        [*within, sys.executable, "-c", PROGRAM, disk, *command],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    full, room_again = done.stdout.split("more room\n")
    warned = [line for line in full.splitlines() if line.startswith("could not save a checkpoint at step ")]
    assert len(warned) >= 9, full
    assert all(f"cannot write to {disk}" in line and line.endswith("; training goes on") for line in warned), warned
    assert all("no space left" in line for line in warned), warned
    assert "code 2\n" in full
    assert full.endswith("checkpoints:\nstep-00000005\nstep-00000010\n"), full
    assert done.stderr.startswith("danlu: error: the last checkpoint could not be saved (cannot write to ")
    assert done.stderr.endswith("make room and run again\n")
    assert done.stderr.count("\n") == 1
    assert "going on after step 10\n" in room_again
    assert room_again.endswith("code 0\n")

"""A joint training from its recipe: what the tests of the stage share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from danlu.recipe import load_recipe
from danlu.tasks.joint import Joint, JointMaterial


def material(path: Path, out: Path) -> JointMaterial:
    """What the stage works with."""
    stage: Any = load_recipe(path).section("joint")
    assert isinstance(stage, Joint) and isinstance(stage.model, Path)
    out.mkdir()
    return JointMaterial.of(stage, stage.model, out, seed=3)


def killed_and_whole(path: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The stage's folders of a training that was killed and went on, and of one that was not.

    Args:
        path: of a recipe whose ``run_dir`` is ``tmp_path / "run"``.
    """
    command = [sys.executable, "-m", "danlu", "joint", str(path)]
    assert subprocess.run([*command, f"run_dir={tmp_path / 'whole'}"], check=False, capture_output=True).returncode == 0
    killed = tmp_path / "run/joint"
    metrics = killed / "metrics.jsonl"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while process.poll() is None and (not metrics.exists() or metrics.read_text().count("\n") < 6):
            pass
        os.kill(process.pid, signal.SIGKILL)
    assert not (killed / "done.json").exists()
    again = subprocess.run(command, check=False, capture_output=True, text=True)
    assert again.returncode == 0 and "going on after step" in again.stdout
    return killed, tmp_path / "whole/joint"

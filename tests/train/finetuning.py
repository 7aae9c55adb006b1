"""``danlu finetune`` on several local processes, of a model and a tokenizer that rank 0 makes from the examples."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from launching import hang, run_stage, turn

from danlu.tasks import material
from danlu.tasks.scratch import Scratch
from danlu.ticks import tick

RECIPE = """\
finetune:
  model: {{family: {{use: bert, layers: 1, dim: 16, heads: 2}}, tokenizer: {{use: char}}, max_length: 64}}
  task: classify
  data: {{train: {file}, dev: {file}}}
  budget: {{steps: 4}}
  batch: 4
  precision: fp32
  compile: off
  evaluations: 1
"""


def prepare(folder: Path) -> None:
    """Write the recipe and its examples."""
    rows = [f"{word} {number},{word}" for number in range(8) for word in ("yes", "no")]
    (folder / "examples.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    (folder / "recipe.yaml").write_text(RECIPE.format(file=folder / "examples.csv"))


def work_on() -> None:
    """For longer than a ring may last, piece by piece."""
    for _ in range(10):
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            pass
        tick()


ACTS: dict[str, Callable[[], None]] = {"sleeps": hang, "turns": turn, "works": work_on}


def launch_finetune(place: str, how: str, folder: str, *overrides: str) -> int:
    """Rank 0 does something else first where it does ``place``; the exit code. What it says is in ``err-RANK``."""
    owner, name = {
        "the last figures": (material, "score"),
        "a tokenizer": (Scratch, "_write"),
        "a model's file": (material, "save_model"),
    }[place]
    real = getattr(owner, name)

    def call(*arguments: Any, **settings: Any) -> Any:
        ACTS[how]()
        Path(folder, "acted").touch()
        return real(*arguments, **settings)

    if os.environ["RANK"] == "0":
        setattr(owner, name, call)
    return run_stage("finetune", folder, *overrides)

"""What a training leaves, as bytes that can be compared."""

from __future__ import annotations

import json
from typing import Any

from danlu.stage import Job
from danlu.train.checkpoint import checkpoints


def result(job: Job) -> dict[str, bytes]:
    """Everything that the next stage or the next step could see of a training."""
    newest = checkpoints(job.out / "checkpoints")[-1]
    files = [newest / "model.safetensors", newest / "training" / "optimizer.safetensors",
             newest / "training" / "state.json", job.out / "model" / "model.safetensors"]  # fmt: skip
    return {path.relative_to(job.out).as_posix(): path.read_bytes() for path in files}


def decisive(job: Job) -> dict[str, Any]:
    """The result but for which held-out losses a checkpoint remembers, and of which settings it is."""
    found: dict[str, Any] = result(job)
    [state] = (name for name in found if name.endswith("state.json"))
    found[state] = json.loads(found[state])
    del found[state]["history"]["heldout"], found[state]["history"]["training"]
    return found

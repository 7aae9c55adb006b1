"""Which training a checkpoint is of: one of another training that was copied in is not what this one goes on from.

``plan.json`` lists the trainings that a folder is of: more than one where somebody has told it to go on with other
settings or another text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from danlu.files import read_json, write_json
from danlu.recipe import plain
from danlu.train.settings import TrainSettings

LIST = "trainings"
DECIDES_NOTHING = ("save", "hardware")
"""Settings with which a training stays the same, but for the last bits."""


def identity(settings: TrainSettings, *, seed: int, data: Mapping[str, Any]) -> str:
    """A hash of what decides a training's outcome: settings, seed and text.

    Args:
        data: the fingerprint of the text, or of the examples.
    """
    deciding = {name: value for name, value in plain(settings).items() if name not in DECIDES_NOTHING}
    known = json.dumps([settings.section, deciding, seed, data], sort_keys=True, default=str)
    return hashlib.sha256(known.encode()).hexdigest()[:16]


def admit(plan: Path, training: str, *, fresh: bool) -> None:
    """Have a training on the list of its folder's; of a folder that has none, only where it is ``fresh``."""
    known = read_json(plan) or {}
    admitted = known.get(LIST, [] if fresh else None)
    if isinstance(admitted, list) and training not in admitted:
        write_json(plan, {**known, LIST: [*admitted, training]})


def admitted_to(plan: Path) -> Collection[str] | None:
    """The trainings that the folder of this ``plan.json`` is of; None where nobody knows."""
    known = (read_json(plan) or {}).get(LIST)
    return known if isinstance(known, list) else None

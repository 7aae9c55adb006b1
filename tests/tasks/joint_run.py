"""A joint training from its recipe: what the tests of the stage share."""

from __future__ import annotations

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

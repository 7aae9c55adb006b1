"""A cleaning as tests run it, and what it wrote."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from danlu.clean.stage import Clean
from danlu.recipe import Recipe, build
from danlu.stage import Figures, Job


def clean(out: Path, **section: Any) -> Figures:
    """Run the stage with these settings into the folder ``out``, to its end; its figures."""
    stage = build(Clean, section, key="clean")
    out.mkdir(exist_ok=True)
    figures = stage.run(Job(Recipe("test", out, 1, {"clean": stage}), {}, out))
    stage.tidy(out)
    return figures


def digests(folder: Path) -> dict[str, str]:
    """The hash of each file."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}

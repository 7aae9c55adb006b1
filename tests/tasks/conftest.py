"""What the tests of tasks share; ``short_run.py`` and ``grpo_run.py`` are found by their names."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def rewards(tmp_path: Path) -> Path:
    """A file of functions that reward answers."""
    from grpo_run import DIGITS

    path = tmp_path / "mine.py"
    path.write_text(DIGITS)
    return path

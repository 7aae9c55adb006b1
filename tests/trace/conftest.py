"""One run for all tests that only look at it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from traced import Made, make


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """Not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("danlu.clean.stage.PORTION_BYTES", 3000)
        yield make(tmp_path_factory.mktemp("trace"))

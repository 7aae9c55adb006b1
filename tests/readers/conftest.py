from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from danlu.readers.reading import read
from danlu.readers.record import LocalFile, Raw, Rejected, Wanted

Reads = Callable[..., list[Raw | Rejected]]


@pytest.fixture
def reads(tmp_path: Path) -> Reads:
    """Writes a file of that name and content, and reads it."""

    def reads(name: str, content: bytes | str, **wanted: Any) -> list[Raw | Rejected]:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return list(read(LocalFile(path), Wanted(**wanted)))

    return reads

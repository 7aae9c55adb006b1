"""Stores in a bucket that is in memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from danlu.corpus.elsewhere import bring

sys.path.insert(0, str(Path(__file__).parent))  # for small_stores.py
from small_stores import BYTES, write


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[fsspec.AbstractFileSystem]:
    files = fsspec.filesystem("memory")
    for part in ("train", "heldout"):
        write(tmp_path / "local" / part)
        for path in (tmp_path / "local" / part).iterdir():
            files.pipe(f"/stores/{part}/{path.name}", path.read_bytes())
    yield files
    files.rm("/stores", recursive=True)


@pytest.fixture
def here(bucket: fsspec.AbstractFileSystem, tmp_path: Path) -> Path:
    bring("memory://stores/train", tmp_path / "here", tmp_path / "cache", 100 * BYTES)
    return tmp_path / "here"

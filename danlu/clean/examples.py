"""Texts of a user's own that a rule learns from: a file or a folder of any format that is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from danlu.errors import InputError
from danlu.readers.record import Rejected
from danlu.readers.sources import Source, SourceFile, find_files
from danlu.text.normalise import normalise


def example_files(path: Path, *, key: str) -> list[SourceFile]:
    """The files at ``path``.

    Raises:
        InputError: there is none that can be read; the line begins with ``key``.
    """
    files = find_files((Source(path=path),), key=key).files
    if not files:
        raise InputError(f"{key}: no file in {path} can be read as text")
    return files


def example_paths(path: Path, *, key: str) -> list[Path]:
    """Where they are, for the fingerprint of what reads them.

    Raises:
        InputError: as :func:`example_files`.
    """
    return [file.path for file in example_files(path, key=key) if file.path is not None]


def example_texts(path: Path, *, key: str) -> Iterator[str]:
    """The texts in them, normalised, in order; records that cannot be read are left out."""
    for file in example_files(path, key=key):
        for record in file.records():
            if not isinstance(record, Rejected) and record.text.strip():
                yield normalise(record.text)

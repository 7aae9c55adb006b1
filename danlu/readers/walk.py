"""The files below a folder, told by one look at each folder of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from danlu.errors import InputError
from danlu.readers.hugging_face import data_files


class Entry(NamedTuple):
    """Something in a folder that is read or named as left out."""

    name: str
    real: str
    """Its path without links."""
    is_file: bool
    is_run: bool
    """Whether it is the folder of a run."""


Group = tuple[Path, list[Entry]]
"""A folder, and what of it is read or left out, in order."""


def walk(path: Path, where: str) -> Iterator[Group]:
    """The files below ``path`` in sorted order, and the hidden folders; linked folders are followed once.

    What the listing of a folder says of a file is not asked of the system again, file by file.

    Raises:
        InputError: a folder cannot be listed.
    """
    if not path.is_dir():
        yield alone(path)
        return
    walked: set[str] = set()
    waiting = [(path, os.path.realpath(path))]
    while waiting:
        folder, real = waiting.pop()
        if real in walked:
            continue
        walked.add(real)
        listing = _listed(folder, where)
        rows = data_files(folder, where)
        if rows is not None:
            yield from map(alone, rows)
            continue
        entries: list[Entry] = []
        folders: list[tuple[Path, str]] = []
        for each in listing:
            # a link to itself is none of an error, as it is for Path.resolve
            below = os.path.realpath(each.path) if each.is_symlink() else f"{real.rstrip('/')}/{each.name}"
            if not _is_folder(each):
                entries.append(Entry(each.name, below, _is_file(each), is_run=False))
            elif each.name.startswith(".") or is_run(Path(each.path)):
                entries.append(Entry(each.name, below, is_file=False, is_run=not each.name.startswith(".")))
            else:
                folders.append((folder / each.name, below))
        yield folder, entries
        waiting += reversed(folders)


def _listed(folder: Path, where: str) -> list[os.DirEntry[str]]:
    """What stands in a folder, by name."""
    try:
        with os.scandir(folder) as listing:
            return sorted(listing, key=lambda each: each.name)
    except OSError as error:
        raise InputError(f"{where}: cannot read the folder {error.filename}: {error.strerror}") from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads nowhere
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def walk_matched(root: Path, matched: Sequence[Path], where: str) -> Iterator[Group]:
    """The files of what a pattern matched, without what is hidden; of a run's folder below ``root`` that folder alone.

    ``root`` itself, and what it lies in, was asked for by name.
    """
    known_run = cache(is_run)
    for path in matched:
        below = path.relative_to(root)
        if any(part.startswith(".") for part in below.parts):
            continue
        folders = [root / each for each in [below, *below.parents][-2::-1]]  # the outermost first
        run = next(filter(known_run, folders), None)
        yield from walk(path, where) if run is None else [alone(run)]


def alone(path: Path) -> Group:
    """One file, or one folder of a run, that was not found by a listing."""
    return path.parent, [Entry(path.name, os.path.realpath(path), path.is_file(), is_run(path))]


def is_run(folder: Path) -> bool:
    """Whether it is the folder of a run, perhaps of the one that begins: what it writes is no text to learn from."""
    return (folder / ".lock").is_file() and (folder / "recipe.yaml").is_file()

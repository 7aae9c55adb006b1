"""The manifest of a folder, which names each of its files with its hash: whatever has changed since is found by it."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from danlu.files import hash_file, json_text, sync_file, sync_folder, write_json

MANIFEST = "manifest.json"


def seal(folder: Path) -> None:
    """Have every file of ``folder`` on the disk, and then a manifest of them; it is written last."""
    inside = sorted(folder.rglob("*"))
    files = [path for path in inside if path.is_file()]
    for path in files:
        sync_file(path)
    write_json(folder / MANIFEST, {path.relative_to(folder).as_posix(): hash_file(path) for path in files})
    for path in inside:
        if path.is_dir():
            sync_folder(path)
    sync_folder(folder)


def find_change(
    folder: Path, *, complete: Callable[[Collection[str]], bool], looked_for: Iterable[str] = ()
) -> str | None:
    """The first thing that is not as :func:`seal` has left it, in words; None where all is.

    Args:
        complete: whether these are all files that such a folder must have; a manifest that lacks one is damaged.
        looked_for: files that are read wherever they are found, so that none may have come from elsewhere.
    """
    name = MANIFEST
    try:
        manifest = _read(folder / name)
        if manifest is None or not complete(manifest):
            return f"{name} is missing or damaged"
        for name, digest in manifest.items():
            if not (folder / name).is_file():
                return f"{name} is missing"
            if hash_file(folder / name) != digest:
                return f"{name} is not what was written"
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return f"{name} cannot be read: {error.strerror}"
    strange = (name for name in looked_for if name not in manifest and (folder / name).exists())
    return next((f"{name} is none of its files" for name in strange), None)


def _read(path: Path) -> dict[str, str] | None:
    """Name to hash; None where the file is not to the byte what :func:`seal` writes for them."""
    try:
        text = path.read_bytes().decode()
        manifest = json.loads(text)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError, RecursionError):
        return None
    return manifest if isinstance(manifest, dict) and text == json_text(manifest) else None

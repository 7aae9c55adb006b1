"""``store.json``, which describes a token store (store.py): of which form it is, and whether it is what was written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from danlu.errors import InputError
from danlu.files import read_json, write_json

FILE = "store.json"
FORM = 3
"""Of the files: what another one wrote is not read."""


def write_description(folder: Path, about: Mapping[str, Any]) -> None:
    """Write what is said of the store in ``folder``, with its form and a hash of it all."""
    whole = {**about, "form": FORM}
    write_json(folder / FILE, {**whole, "sha256": _digest(whole)})


def read_description(folder: Path) -> dict[str, Any]:
    """What :func:`write_description` wrote.

    Raises:
        InputError: there is none, it is damaged, or an earlier Danlu wrote it.
    """
    about = read_json(folder / FILE)
    if about is None:
        raise InputError(f"no token store in {folder}: {FILE} is missing or damaged")
    if about.get("form") != FORM:
        raise InputError(f"the token store in {folder} is of another form than this Danlu reads: pack the text again")
    if not as_written(about):
        raise InputError(f"the token store in {folder} is damaged: {FILE} is not what was written")
    return about


def as_written(about: Mapping[str, Any] | None) -> bool:
    """Whether it is of this form, and what was written: a bit that is flipped may make another language or token."""
    return about is not None and about.get("form") == FORM and about.get("sha256") == _digest(about)


def _digest(about: Mapping[str, Any]) -> str:
    """SHA-256 of all but itself, however it is laid out."""
    content = {key: value for key, value in about.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

"""The folder of a model that somebody has named: whether it is one, and if not, which may have been meant."""

from __future__ import annotations

from pathlib import Path

from danlu.errors import InputError, did_you_mean
from danlu.nn.hf.hub import NAME

INSIDE = ("export", "pretrain/model")
"""Where a run folder has its model, the best first."""


def check_given(folder: Path) -> None:
    """Refuse what is no folder with a ``config.json``.

    Raises:
        InputError: it is none; the error says what is there, and the command that makes a model of it.
    """
    if not folder.exists():
        beside = [str(each) for each in folder.parent.iterdir()] if folder.parent.is_dir() else []
        near = did_you_mean(str(folder), beside)
        fetch = f"; 'danlu import {folder}' fetches it from the hub" if NAME.fullmatch(str(folder)) else ""
        raise InputError(f"there is no model folder {folder}{near or fetch}")
    if not folder.is_dir():
        made = f"; 'danlu import {folder}' makes one of it" if folder.suffix == ".gguf" else ""
        raise InputError(f"{folder} is a file, not a folder with a model{made}")
    if (folder / "config.json").exists():
        return
    if any(folder.glob("*.gguf")):
        raise InputError(f"{folder} holds a GGUF file; 'danlu import {folder}' makes a model folder of it")
    inside = [str(folder / name) for name in INSIDE if (folder / name / "config.json").exists()]
    inside += sorted(str(each.parent) for each in folder.glob("*/config.json"))
    meant = f"; did you mean {inside[0]!r}?" if inside else ""
    raise InputError(f"no model in {folder}: config.json is missing{meant}")

"""Drafts: what a first pass makes of each portion of its input, kept until the stage is done.

A draft is a folder that appears whole, with the hash of all that it was made of, so that a run that was killed goes on
with those that are missing, and processes, also of several machines, can work at them in any order.
"""

from __future__ import annotations

import secrets
import shutil
import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from danlu.errors import InputError
from danlu.files import remove_folder

P = TypeVar("P")

FOLDER, MADE_FROM = "drafts", "made_from.txt"


def draft_folder(out: Path, number: int) -> Path:
    """Where the draft of a portion is, once it is whole."""
    return out / FOLDER / f"{number:05d}"


def made_from(draft: Path) -> str | None:
    """The hash of what a draft was made of; None where it has not been made."""
    path = draft / MADE_FROM
    return path.read_text() if path.exists() else None


def how_many(out: Path) -> int:
    """Drafts that a run which was stopped has left."""
    return len(list((out / FOLDER).glob("[0-9]*")))


def missing(out: Path, wanted: Mapping[int, tuple[P, str]], *, beside: Collection[Path] = ()) -> list[P]:
    """The portions whose draft is not there, or was made of something else; drafts of no portion go.

    Args:
        wanted: by number, each portion and the hash of what its draft has to be made of.
        beside: what else lies there, and stays.
    """
    drafts = {draft_folder(out, number): each for number, each in wanted.items()}
    (out / FOLDER).mkdir(parents=True, exist_ok=True)
    for folder in (out / FOLDER).iterdir():
        if folder not in drafts and folder not in beside:
            shutil.rmtree(folder)
    return [portion for draft, (portion, hash_) in drafts.items() if made_from(draft) != hash_]


@contextmanager
def appearing(out: Path, number: int, hash_: str) -> Iterator[Path]:
    """A new folder to write a draft to, which is the draft once the ``with`` has ended well."""
    draft = draft_folder(out, number)
    # A process that seems lost may still be at the same draft: each has a folder of its own.
    unfinished = draft.with_name(f".{draft.name}-{secrets.token_hex(8)}")
    unfinished.mkdir()
    yield unfinished
    (unfinished / MADE_FROM).write_text(hash_)
    if made_from(draft) == hash_:  # the other was faster, with the same bytes
        shutil.rmtree(unfinished)
        return
    shutil.rmtree(draft, ignore_errors=True)
    unfinished.rename(draft)


def check_unchanged(files: str, now: Callable[[], str], hash_: str, *, began: str) -> None:
    """Refuse files that are others than those that the run began with, gone, or not seen by this machine.

    Args:
        files: the setting that they are of, and their names.
        now: makes the hash of what is there now.
        began: the stage.

    Raises:
        InputError: they are.
    """
    try:
        how = None if now() == hash_ else "are others there, or have changed since"
    except OSError as error:
        how = f"cannot be read there: {error.strerror}"
    if how is not None:
        raise InputError(f"{files}, found as {began} began, {how} (the machine {socket.gethostname()})")


def throw_away(out: Path) -> None:
    """Remove all drafts at once, so that a run which is killed meanwhile finds all or none; there may be none."""
    gone = out / f".{FOLDER}"
    if gone.exists():
        remove_folder(gone)
    if (out / FOLDER).exists():
        (out / FOLDER).rename(gone)
        remove_folder(gone)

"""The files of sources, listed once for a piece of work that asks for them several times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from danlu.readers.sources import Found, Source, find_files

_held: ContextVar[list[tuple[Sequence[Source], Found]] | None] = ContextVar("_held", default=None)


@contextmanager
def listed_once() -> Iterator[None]:
    """For a ``with``, in this thread: :func:`files_of` lists the files of the same sources once."""
    if _held.get() is not None:
        yield
        return
    token = _held.set([])
    try:
        yield
    finally:
        _held.reset(token)


def files_of(sources: Sequence[Source], *, key: str) -> Found:
    """What :func:`~danlu.readers.sources.find_files` finds, or has found of these sources within the same ``with``.

    Raises:
        InputError: as there.
    """
    held = _held.get()
    if held is None:
        return find_files(sources, key=key)
    for known, found in held:
        if known is sources:
            return found
    held.append((sources, find_files(sources, key=key)))
    return held[-1][1]

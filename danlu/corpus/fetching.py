"""Whether this process fetches something from elsewhere, and how much has come: who watches it cannot see that.

Bytes of a connection are counted nowhere, and a rank that waits for them looks like one that hangs.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Fetches:
    """What all threads of this process are about."""

    fetching: int = 0
    """How many fetch something now."""
    queued: int = 0
    """How many wait until another process has fetched something."""
    pieces: int = 0
    """That have come so far; the end of a fetch counts as one."""


_now = Fetches()


def under_way() -> Fetches:
    """What goes on now."""
    return _now


@contextmanager
def fetching() -> Iterator[None]:
    """While something is fetched."""
    _add(fetching=1)
    try:
        yield
    finally:
        _add(fetching=-1, pieces=1)


@contextmanager
def queued() -> Iterator[None]:
    """While another process fetches what this one needs, or something before it."""
    _add(queued=1)
    try:
        yield
    finally:
        _add(queued=-1, pieces=1)


def piece_came() -> None:
    """A piece has come of what is fetched."""
    _add(pieces=1)


def _add(*, fetching: int = 0, queued: int = 0, pieces: int = 0) -> None:
    global _now  # noqa: PLW0603
    with _lock:
        _now = replace(
            _now, fetching=_now.fetching + fetching, queued=_now.queued + queued, pieces=_now.pieces + pieces
        )

"""That work comes on, told from inside loops which do not know who listens.

Of many processes that train together, some may wait for one of them: whoever is silent for long counts as hanging.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")

_listeners: list[tuple[int, Callable[[], None]]] = []
"""Each with the thread whose work it hears of."""


def tick() -> None:
    """A piece of work is done, of those that take seconds at the most."""
    for thread, hear in _listeners:
        if thread == threading.get_ident():
            hear()


def ticking(items: Iterable[Item]) -> Iterator[Item]:
    """The same items; the work on each is a piece."""
    for item in items:
        yield item
        tick()


@contextmanager
def heard(hear: Callable[[], None]) -> Iterator[None]:
    """Have ``hear`` called at each tick of this thread."""
    listener = (threading.get_ident(), hear)
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)

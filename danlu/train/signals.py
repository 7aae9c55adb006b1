"""SIGTERM and Ctrl-C: finish the step, save, leave with a documented code."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from danlu.errors import Interrupted


class StopRequest:
    """Which signal asked the process to stop; 0 while none did."""

    signal = 0

    def __bool__(self) -> bool:
        return self.signal != 0


_watching: list[StopRequest] = []


@contextmanager
def watch_for_stop() -> Iterator[StopRequest]:
    """Note SIGTERM and SIGINT instead of dying of them; a second SIGINT interrupts at once.

    Where the work ends well without having acted on a request, the signal is sent again.
    Outside the main thread, where Python lets nobody watch, requests come by :func:`ask_to_stop` alone.

    Raises:
        Interrupted: outside the main thread, where nobody has acted on a request.
    """
    request = StopRequest()
    before: dict[signal.Signals, Any] = {}

    def note(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and request.signal == signal.SIGINT:
            raise KeyboardInterrupt
        request.signal = number

    main = threading.current_thread() is threading.main_thread()
    if main:
        before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    _watching.append(request)
    try:
        yield request
    finally:
        _watching.remove(request)
        for number, handler in before.items():
            signal.signal(number, handler)
    if request and main:
        signal.raise_signal(request.signal)
    elif request:
        raise Interrupted("stopped as asked", signal=request.signal)


def ask_to_stop(number: int) -> bool:
    """Ask whoever watches in this process, as the signal ``number`` would; False where nobody does."""
    for request in _watching:
        request.signal = number
    return bool(_watching)

"""SIGTERM and Ctrl-C: finish the step, save, leave with a documented code."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Which signal asked the process to stop; 0 while none did."""

    signal = 0

    def __bool__(self) -> bool:
        return self.signal != 0


@contextmanager
def watch_for_stop() -> Iterator[StopRequest]:
    """Note SIGTERM and SIGINT instead of dying of them; a second SIGINT interrupts at once.

    Where the work ends well without having acted on a request, the signal is sent again.
    Outside the main thread, where Python lets nobody watch, no request ever comes.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def note(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and request.signal == signal.SIGINT:
            raise KeyboardInterrupt
        request.signal = number

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if request:
        signal.raise_signal(request.signal)

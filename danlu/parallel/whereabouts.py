"""Where a thread is in the program: work comes to ever new lines, a ring comes back to its own."""

from __future__ import annotations

import gc
import sys
import threading
from dataclasses import dataclass, field
from types import CodeType, FrameType

from danlu.parallel.activity import run_seconds


@dataclass
class Whereabouts:
    """Of the thread that makes it, or begins other work, looked at now and then from another one."""

    thread: int = field(default_factory=threading.get_ident)
    native: int = field(default_factory=threading.get_native_id)
    turning: float = 0.0
    """Its processor time, in seconds, since it was seen at a new line or came on; 0 where the system does not tell."""
    _lines: set[tuple[CodeType, int | None]] = field(default_factory=set)
    _ran: float = 0.0

    def look(self) -> None:
        """Note where it is."""
        before, self._ran = self._ran, run_seconds(self.native)
        frame, lines = _frame_of(self.thread), set[tuple[CodeType, int | None]]()
        while frame is not None:
            lines.add((frame.f_code, frame.f_lineno))
            frame = frame.f_back
        if lines <= self._lines:
            self.turning += self._ran - before
        else:
            self._lines |= lines
            self.turning = 0.0

    def came_on(self) -> None:
        """It has done something that may bring it back to the same lines."""
        self.turning = 0.0

    def forget(self) -> None:
        """The thread that calls begins other work: torch compiles the backward pass in one of its own."""
        self.thread, self.native = threading.get_ident(), threading.get_native_id()
        self._lines, self.turning = set(), 0.0


def _frame_of(thread: int) -> FrameType | None:
    """Where a thread is. Before Python 3.11.12 the list of frames is made under a lock that whoever begins or ends a
    thread waits for, with the interpreter's own lock in hand: a collection of garbage which began amid the list, and
    gave that one away to run a finalizer, stopped the process for ever (python/cpython#106883)."""
    collects = gc.isenabled()
    gc.disable()
    try:
        return sys._current_frames().get(thread)
    finally:
        if collects:
            gc.enable()

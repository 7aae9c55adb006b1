"""Where a thread is in the program: work comes to ever new lines, a ring comes back to its own."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass, field
from types import CodeType

from danlu.parallel.activity import run_seconds


@dataclass
class Whereabouts:
    """Of the thread that makes it, looked at now and then from another one."""

    thread: int = field(default_factory=threading.get_ident)
    native: int = field(default_factory=threading.get_native_id)
    turning: float = 0.0
    """Its processor time, in seconds, since it was seen at a new line or came on; 0 where the system does not tell."""
    _lines: set[tuple[CodeType, int | None]] = field(default_factory=set)
    _ran: float = 0.0

    def look(self) -> None:
        """Note where it is."""
        before, self._ran = self._ran, run_seconds(self.native)
        frame, lines = sys._current_frames().get(self.thread), set[tuple[CodeType, int | None]]()
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
        """Other work begins."""
        self._lines, self.turning = set(), 0.0

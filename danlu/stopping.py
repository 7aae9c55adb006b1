"""Ctrl-C and SIGTERM end a command that runs stages, wherever it is, in one clear line.

A training saves first (``train/signals.py``); all other stages may be killed at any moment, so that nothing has to be
saved. But whoever waits for them, a scheduler or a person, is told, and processes that work for this one are ended.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from danlu.errors import Interrupted

SECONDS_TO_END = 10.0
"""After so long the process ends all the same: code in C or Rust may let no Python run for minutes."""
NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


class Terminated(KeyboardInterrupt):
    """SIGTERM, which passes through ``except Exception`` as Ctrl-C does: no document is blamed for it."""


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


_wakes: set[int] = set()
"""Where the system notes signals while a ``with`` of ours lasts."""


def _forget() -> None:
    """In a process that was forked from this one: it would note its own signals where this one reads, which would end
    this one."""
    if _wakes:
        signal.set_wakeup_fd(-1)
        if signal.getsignal(signal.SIGTERM) is _terminate:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


os.register_at_fork(after_in_child=_forget)


@contextmanager
def stoppable() -> Iterator[None]:
    """Have both signals end the ``with``, in the main thread; in others, where Python lets nobody watch, do nothing.

    Raises:
        Interrupted: one came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        with _not_for_long():
            yield
    except KeyboardInterrupt as stop:
        number = signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT
        raise Interrupted(_told(number), signal=number) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _told(number: signal.Signals) -> str:
    return f"stopped by {NAMES[number]}; the same command goes on from here"


@contextmanager
def _not_for_long() -> Iterator[None]:
    """End the process some time after a signal that has not ended the ``with``, unless somebody else minds it."""
    ours = {signal.SIGTERM: _terminate, signal.SIGINT: signal.default_int_handler}
    theirs, mine = socket.socketpair()
    mine.setblocking(False)
    over = threading.Event()

    def watch() -> None:
        while came := theirs.recv(1):  # which signal, from the moment that it came
            number = signal.Signals(came[0])
            if number in ours and signal.getsignal(number) is ours[number] and not over.wait(SECONDS_TO_END):
                sys.stderr.write(f"danlu: {_told(number)}\n")
                sys.stderr.flush()
                os._exit(128 + number)

    watching = threading.Thread(target=watch, name="signals", daemon=True)
    before = signal.set_wakeup_fd(mine.fileno(), warn_on_full_buffer=False)
    _wakes.add(mine.fileno())
    watching.start()
    try:
        yield
    finally:
        over.set()
        signal.set_wakeup_fd(before)
        _wakes.discard(mine.fileno())
        mine.shutdown(socket.SHUT_RDWR)  # a process that was forked may hold it open, too
        mine.close()
        watching.join()
        theirs.close()

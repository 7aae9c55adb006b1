"""Serving a model until somebody stops it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

import uvicorn

from danlu.address import Address
from danlu.errors import Interrupted
from danlu.log import say
from danlu.serve.api import application
from danlu.serve.engine import Engine

SECONDS_TO_FINISH = 10
"""For requests that are being answered when it is stopped."""


def run(folder: Path, address: Address, *, dtype: str | None) -> None:
    """Serve the model in ``folder`` until Ctrl-C or SIGTERM, after which begun requests are answered.

    Raises:
        InputError, CheckpointError: there is no such model, or the host or the port cannot be used.
        Interrupted: that is how it ends.
    """
    with address.listening() as listener, _stopped():  # before a model is loaded that may be large
        engine = Engine(folder, dtype=dtype)
        config = uvicorn.Config(
            application(engine, is_ours=address.is_ours), log_level="error", access_log=False, server_header=False,
            timeout_graceful_shutdown=SECONDS_TO_FINISH, lifespan="off", ws="none",
        )  # fmt: skip
        say(f"{folder}: {engine.described()}")
        if not address.local:
            say(f"everybody who reaches {address.host} may ask: there is no password")
        url = address.url(listener)
        say(f"{url} has a page to try it on; programs POST rows as JSON to {url}predict (Ctrl-C stops)")
        uvicorn.Server(config).run(sockets=[listener])


@contextmanager
def _stopped() -> Iterator[None]:
    """One line in the end: when uvicorn has finished it gives the signal on."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise Interrupted("stopped serving", signal=number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""Serving a study until somebody stops it."""

from __future__ import annotations

import signal
from types import FrameType
from typing import NoReturn

from danlu.errors import Interrupted
from danlu.log import say
from danlu.rate.server import RatingServer
from danlu.rate.store import Store


def run(store: Store, *, host: str, port: int) -> NoReturn:
    """Serve the study until Ctrl-C or SIGTERM, which lose nothing.

    Raises:
        InputError: the host or the port cannot be used.
        Interrupted: that is how it ends.
    """
    server = RatingServer(store, host=host, port=port)
    wanted = len(store.items) * store.study.raters

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise Interrupted(
            f"stopped; {len(store.ratings()):,} of {wanted:,} ratings are in {store.path}; "
            f"'danlu rate report {store.path}' tells what they say",
            signal=number,
        )

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        so_far = f"{len(store.ratings()):,} of {wanted:,} ratings so far"
        say(f"{len(store.items):,} items, {store.study.raters} raters each; {so_far}")
        if not server.address.local:
            say(f"everybody who reaches {host} may rate: there is no password")
        say(f"{server.url} (Ctrl-C stops; every rating is in {store.path})")
        server.serve_forever()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        server.server_close()
    raise AssertionError("a server that nobody has stopped")

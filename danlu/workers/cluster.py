"""A Ray cluster, while this process is connected to it: one that is there, or one that begins and ends here."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from danlu.errors import InputError
from danlu.machine import cores
from danlu.optional import optional

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # workers go where the recipe's paths begin
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # they have streams of ours
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # it would start all workers again; here a lost one ends the run
}
"""Set before Ray is imported, where they are not set."""
STORE_BYTES = 100 * 2**20
"""For objects of a cluster that is started here; by default Ray would take a third of the memory."""
SECONDS_TO_ANSWER = 10.0


def load_ray(install: str) -> Any:
    """The package, with what it reads from the environment.

    Args:
        install: what to ask pip for.

    Raises:
        InputError: it is not installed.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    return optional("ray", purpose="--ray", install=install)


@contextmanager
def connected(ray: Any, address: str, workers: int, of_workers: Mapping[str, str] | None = None) -> Iterator[None]:
    """Be connected for a ``with``.

    Args:
        ray: the package.
        address: ``local`` for a cluster that begins and ends here; else as ``ray.init`` takes it.
        workers: how many processes a ``local`` one shall have room for at least.
        of_workers: variables of their environment.

    Raises:
        InputError: there is no such cluster.
    """
    check_answers(address)
    here: dict[str, Any] = {}
    if address == "local":
        cpus = max(cores(), workers)
        here = {"num_cpus": cpus, "object_store_memory": STORE_BYTES, "include_dashboard": False}
    before = signal.getsignal(signal.SIGTERM)
    environment = {"env_vars": dict(of_workers or {})}
    try:
        ray.init(address, runtime_env=environment, log_to_driver=False, logging_level="ERROR", **here)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise InputError(f"--ray {address}: {' '.join(str(error).split())}") from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)  # Ray has put its own there, which ends the process with code 1
    try:
        yield
    finally:
        ray.shutdown()


def check_answers(address: str) -> None:
    """Whether somebody listens at ``HOST:PORT`` or ``ray://HOST:PORT``; Ray itself would try for minutes.

    Raises:
        InputError: nobody does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdecimal()):
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS_TO_ANSWER).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"--ray {address}: no Ray cluster answers there ({error})") from error


def first_line(error: BaseException) -> str:
    """The first line with something in it: Ray's errors have many."""
    return next((line for line in map(str.strip, str(error).splitlines()) if line), type(error).__name__)

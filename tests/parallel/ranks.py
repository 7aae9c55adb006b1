"""Runs a function on several local processes that talk over gloo: ``run(function, ranks, *arguments)``.

A server process has torch and Danlu imported; each rank is forked from it, which takes some milliseconds.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import pickle
import socket
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

PRELOADED = ["torch._dynamo", "torch.distributed.fsdp", "danlu.train.owners", "danlu.train.setup"]

_forks = multiprocessing.get_context("forkserver")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def start(function: Callable[..., Any], size: int, *arguments: Any) -> list[tuple[Any, Connection]]:
    """``function(*arguments)`` on every rank; each process with the end of a pipe that its result comes through."""
    _forks.set_forkserver_preload(PRELOADED)
    port, started = free_port(), []
    for rank in range(size):
        mine, theirs = _forks.Pipe(duplex=False)
        named = (function.__code__.co_filename, function.__qualname__)
        process = _forks.Process(target=_rank, args=(theirs, rank, size, port, named, arguments), daemon=True)
        process.start()
        theirs.close()
        started.append((process, mine))
    return started


def run(function: Callable[..., Any], size: int, *arguments: Any, seconds: float = 60) -> list[Any]:
    """What ``function(*arguments)`` returns on each rank; an error of one is raised here."""
    started = start(function, size, *arguments)
    results: list[Any] = []
    try:
        for rank, (_, pipe) in enumerate(started):
            if not pipe.poll(seconds):
                raise TimeoutError(f"rank {rank} has no result after {seconds} s")
            try:
                good, result = pickle.loads(pipe.recv_bytes())
            except EOFError:
                started[rank][0].join(5)
                raise RuntimeError(f"rank {rank} ended with {started[rank][0].exitcode} and no result") from None
            if not good:
                raise RuntimeError(f"on rank {rank}:\n{result}")
            results.append(result)
    finally:
        for process, _ in started:
            process.join(0.0 if len(results) < size else 10)
            process.kill()
            process.join()
    return results


def _rank(pipe: Connection, rank: int, size: int, port: int, named: tuple[str, str], arguments: Any) -> None:
    """One process. The function is found by its file: tests are in no package that others could import."""
    import torch

    torch.set_num_threads(1)
    if size > 1:
        places = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank, "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in places.items()}, MASTER_ADDR="127.0.0.1")
    try:
        pipe.send_bytes(pickle.dumps((True, _find(*named)(*arguments))))  # tensors by value
    except BaseException:
        pipe.send_bytes(pickle.dumps((False, traceback.format_exc())))


def _find(file: str, name: str) -> Callable[..., Any]:
    module = f"ranks_{Path(file).stem}"
    if module not in sys.modules:
        spec = importlib.util.spec_from_file_location(module, file)
        assert spec is not None and spec.loader is not None
        sys.modules[module] = loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
    function: Callable[..., Any] = getattr(sys.modules[module], name)
    return function

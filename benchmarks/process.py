"""A function in a fresh process of its own, so that its time, its threads and its memory are its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import ParamSpec, TypeVar

from report import NotMeasuredError

from danlu.machine import peak_memory_bytes

P = ParamSpec("P")
T = TypeVar("T")

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
"""Nothing is fetched, and a GPU that happens to be there is not used."""


def in_fresh_process(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> tuple[T, int]:
    """The function's result, and the peak resident memory in bytes of the process that ran it.

    Raises:
        NotMeasuredError: it raised, or the process was killed.
    """
    os.environ.update(OFFLINE)
    return _measured(partial(function, *args, **kwargs), function.__name__)


def in_fresh_process_with_gpu(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> tuple[T, int]:
    """As :func:`in_fresh_process`, with the GPUs that are there."""
    os.environ.update({name: value for name, value in OFFLINE.items() if name != "CUDA_VISIBLE_DEVICES"})
    return _measured(partial(function, *args, **kwargs), function.__name__)


def _measured(function: Callable[[], T], name: str) -> tuple[T, int]:
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn"), initializer=_end_with_parent) as pool:
        try:
            return pool.submit(_with_peak, function).result()
        except BrokenProcessPool:
            raise NotMeasuredError(f"the process of {name} was killed; too little memory?") from None
        except Exception as error:
            raise NotMeasuredError(f"{name}: {type(error).__name__}: {error}") from error


def _end_with_parent() -> None:
    """Leave no process behind that would be measured together with what comes next."""
    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    Thread(target=wait, daemon=True).start()


def _with_peak(function: Callable[[], T]) -> tuple[T, int]:
    result = function()
    return result, peak_memory_bytes()

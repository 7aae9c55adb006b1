"""A function in a fresh process of its own, so that its time, its threads and its memory are its own."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from typing import ParamSpec, TypeVar

from report import NotMeasuredError

from danlu.machine import peak_memory_bytes
from danlu.orphans import end_with_parent  # without torch, which not every measured process loads

P = ParamSpec("P")
T = TypeVar("T")

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
"""Nothing is fetched, and a GPU that happens to be there is not used."""


def in_fresh_process(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> tuple[T, int]:
    """The function's result, and the peak resident memory in bytes of the process that ran it.

    Raises:
        NotMeasuredError: it raised, or the process was killed.
    """
    with environment(OFFLINE):
        return _measured(partial(function, *args, **kwargs), function.__name__)


def in_fresh_process_with_gpu(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> tuple[T, int]:
    """As :func:`in_fresh_process`, with the GPUs that are there."""
    with environment({name: value for name, value in OFFLINE.items() if name != "CUDA_VISIBLE_DEVICES"}):
        return _measured(partial(function, *args, **kwargs), function.__name__)


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Those variables while it lasts, for processes that are started; a later one may see the GPUs again."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _measured(function: Callable[[], T], name: str) -> tuple[T, int]:
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn"), initializer=end_with_parent) as pool:
        try:
            done = pool.submit(_with_peak, function).result()
        except BrokenProcessPool:
            raise NotMeasuredError(f"the process of {name} was killed; too little memory?") from None
    if isinstance(done, _RaisedThereError):
        raise NotMeasuredError(f"{name}: {done.problem}") from done
    return done


class _RaisedThereError(Exception):
    """What a function raised, in words: not every exception can be sent from one process to another."""

    def __init__(self, problem: str, trace: str) -> None:
        super().__init__(problem, trace)
        self.problem, self.trace = problem, trace

    def __str__(self) -> str:
        return self.trace


def _with_peak(function: Callable[[], T]) -> tuple[T, int] | _RaisedThereError:
    try:
        result = function()
    except Exception as error:
        return _RaisedThereError(f"{type(error).__name__}: {error}", traceback.format_exc())
    return result, peak_memory_bytes()

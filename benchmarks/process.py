"""A function in a fresh process of its own, so that its time, its threads and its memory are its own."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from typing import ParamSpec, TypeVar

from report import NotMeasuredError

P = ParamSpec("P")
T = TypeVar("T")

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
"""Nothing is fetched, and a GPU that happens to be there is not used."""


def in_fresh_process(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> tuple[T, int]:
    """The function's result, and the peak resident memory in bytes of the process that ran it.

    Its caller must not hold much memory itself: Linux counts what a process had before its program began.

    Raises:
        NotMeasuredError: it raised, or the process was killed.
    """
    os.environ.update(OFFLINE)
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(_with_peak, partial(function, *args, **kwargs)).result()
        except BrokenProcessPool:
            raise NotMeasuredError(f"the process of {function.__name__} was killed; too little memory?") from None
        except Exception as error:
            raise NotMeasuredError(f"{function.__name__}: {type(error).__name__}: {error}") from error


def _with_peak(function: Callable[[], T]) -> tuple[T, int]:
    result = function()
    return result, peak_bytes()


def peak_bytes() -> int:
    """The most memory that this process has had resident."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

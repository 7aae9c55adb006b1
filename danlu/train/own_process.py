"""A measurement in a process of its own, so that the peak of memory and what it spoils are its alone."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from danlu.errors import DanluError
from danlu.orphans import end_with_parent
from danlu.train.memory import REMEDY, told_where_too_little

T = TypeVar("T")


class ProcessDiedError(DanluError):
    """A process was ended from outside, as the system does where memory is short."""


def in_own_process(measure: Callable[..., T], *arguments: Any) -> T:
    """What ``measure``, a function of a module, returns in a fresh process.

    Raises:
        ProcessDiedError: it died.
        DanluError: there is too little memory.
    """
    context = multiprocessing.get_context("spawn")
    with told_where_too_little(), ProcessPoolExecutor(1, mp_context=context, initializer=end_with_parent) as pool:
        try:
            return pool.submit(measure, *arguments).result()
        except BrokenProcessPool as error:
            problem = f"the process that timed the steps died, perhaps for want of memory: {REMEDY}"
            raise ProcessDiedError(problem) from error

"""The batches of the next step, made while a GPU works at the present one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from danlu.corpus.batches import Batch


class Ahead:
    """``batches``, of which those of the step behind the one that was asked for are being made in a thread.

    They are a pure function of the step, so it does not matter when they are made, nor by whom: what comes out is what
    ``batches`` gives, for any order of steps, and an error comes when its step is asked for. For GPUs only; on
    processors all cores are busy with the step itself.

    Args:
        batches: the micro-batches of a step; it is called by one thread at a time.
    """

    def __init__(self, batches: Callable[[int], list[Batch]]) -> None:
        self._batches = batches
        self._pinned = torch.cuda.is_available()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")
        self._next: tuple[int, Future[list[Batch]]] | None = None

    def __call__(self, step: int) -> list[Batch]:
        """The micro-batches of ``step``."""
        if self._next is not None and self._next[0] == step:
            found = self._next[1]
        else:
            found = self._thread.submit(self._make, step)
        made = found.result()
        self._next = step + 1, self._thread.submit(self._make, step + 1)
        return made

    def _make(self, step: int) -> list[Batch]:
        made = self._batches(step)
        return [batch.pinned() for batch in made] if self._pinned else made

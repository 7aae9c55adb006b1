"""What ranks tell each other arrives whole, in one collective call where it is short."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import ranks
import torch.distributed as dist

from danlu.parallel.joining import joined
from danlu.parallel.patience import Watch
from danlu.parallel.telling import ENVELOPE
from danlu.parallel.world import read_world

CASES = [
    ([0, 10, 5], {"all_gather": 1, "broadcast": 1}),
    ([10, ENVELOPE, 0], {"all_gather": 2, "broadcast": 1}),
    ([3 * ENVELOPE, 0, 0], {"all_gather": 2, "broadcast": 2}),
    ([5, 100_000, 700], {"all_gather": 2, "broadcast": 1}),
]
"""Bytes that each rank tells of its own, and the calls that it takes."""


def said(sizes: list[int]) -> list[dict[str, Any]]:
    return [{"rank": rank, "of": bytes([rank]) * size, "third": 1 / 3} for rank, size in enumerate(sizes)]


def exchange() -> tuple[list[Any], list[bool]]:
    """For each case what was heard of all, what of rank 0, and the calls; then, around an envelope's size, whether."""
    calls: Counter[str] = Counter()

    def counted(name: str, real: Any) -> Any:
        def call(*arguments: Any) -> Any:
            calls[name] += 1
            return real(*arguments)

        return call

    with joined(read_world(os.environ), Watch()) as team:
        for name in ("all_gather", "broadcast"):
            setattr(dist, name, counted(name, getattr(dist, name)))
        heard = []
        for sizes, _ in CASES:
            calls.clear()
            mine = said(sizes)[team.rank]
            heard.append((team.all(mine), team.from_first(mine), dict(calls)))
        lengths = [bytes(range(256)) * 3 + b"x" * more for more in range(180, 280)]
        return heard, [team.all(each) == [each] * 3 and team.from_first(each) == each for each in lengths]


def test_each_hears_what_all_have_said_in_as_few_calls_as_can_be() -> None:
    for heard, at_the_edge in ranks.run(exchange, 3):
        assert heard == [(said(sizes), said(sizes)[0], calls) for sizes, calls in CASES]
        assert at_the_edge == [True] * 100

"""What ``hardware.micro_batch`` costs: the pace and the memory of a step by how many of its rows go through at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

KEPT_FREE = 0.2
"""The share of the memory that the suggestion leaves: text of another kind, or a second program, may need some."""
FALLEN = 0.9
"""The search ends where the pace is below this share of the best."""
ALIKE = 0.97
"""Paces above this share of the best are taken for as good: the fewest rows among them need least memory."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a step whose rows go through the model so many at once."""

    rows: int
    tokens_per_second: float
    peak_bytes: int
    """Main memory of the process at its peak; of the GPU, where the model is there."""
    room_bytes: int | None
    """All the memory that the process could have had; None where the system does not tell."""
    compiled: bool = False

    @property
    def leaves_room(self) -> bool:
        return self.room_bytes is None or self.peak_bytes <= (1 - KEPT_FREE) * self.room_bytes


def sizes(batch: int, now: int) -> list[int]:
    """1, 2, 4 … and the whole batch; the recipe's own among them."""
    powers = {2**power for power in range(batch.bit_length()) if 2**power < batch}
    return sorted(powers | {batch, now})


def costs(rows: Sequence[int], measure: Callable[[int], Cost | None]) -> Iterator[Cost]:
    """Of each of ``rows``, the fewest first, as long as memory lasts and the pace does not fall.

    Args:
        measure: the cost of a size; None where memory does not hold it.
    """
    known: list[Cost] = []
    for count in rows:
        if _too_large(known, count):
            return
        cost = measure(count)
        if cost is None:
            return
        known.append(cost)
        yield cost
        if cost.tokens_per_second < FALLEN * max(each.tokens_per_second for each in known):
            return


def _too_large(known: Sequence[Cost], rows: int) -> bool:
    """Whether so many rows would not fit, by the growth so far: a system that is out of memory kills as it likes."""
    if len(known) < 2 or known[-1].room_bytes is None:
        return False
    before, last = known[-2:]
    a_row = max(0, last.peak_bytes - before.peak_bytes) / (last.rows - before.rows)
    return last.peak_bytes + a_row * (rows - last.rows) > known[-1].room_bytes


def fastest(known: Sequence[Cost]) -> Cost | None:
    """The fastest that leaves some memory, and of those that are about as fast the smallest; None where none does."""
    fitting = [cost for cost in known if cost.leaves_room]
    best = max((cost.tokens_per_second for cost in fitting), default=0.0)
    return next((cost for cost in fitting if cost.tokens_per_second >= ALIKE * best), None)

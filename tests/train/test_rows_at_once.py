"""The search for rows at once ends where it should, and takes what is fast and fits."""

from __future__ import annotations

import pytest

from danlu.train.rows_at_once import Cost, costs, fastest, sizes

ROOM = 1000


@pytest.mark.parametrize(
    ("batch", "now", "expected"),
    [(1, 1, [1]), (8, 8, [1, 2, 4, 8]), (12, 4, [1, 2, 4, 8, 12]), (12, 6, [1, 2, 4, 6, 8, 12])],
)
def test_sizes_are_doubled_up_to_the_batch(batch: int, now: int, expected: list[int]) -> None:
    assert sizes(batch, now) == expected


def search(paces: dict[int, float], *, bytes_each: int, room: int | None = ROOM) -> tuple[list[int], list[Cost]]:
    """The sizes that were tried, and what was found; n rows take 100 bytes and n times ``bytes_each``."""
    tried = []

    def measure(rows: int) -> Cost | None:
        tried.append(rows)
        peak = 100 + bytes_each * rows
        return None if room is not None and peak > room else Cost(rows, paces[rows], peak, room)

    return tried, list(costs(sorted(paces), measure))


def test_it_ends_where_the_pace_falls() -> None:
    tried, found = search({1: 100, 2: 190, 4: 200, 8: 150, 16: 400}, bytes_each=1)
    assert tried == [1, 2, 4, 8]
    assert fastest(found) == found[2]


def test_a_size_that_would_not_fit_is_not_tried() -> None:
    """100 + 120 n bytes of 1000: 4 fit, 8 would need 1060."""
    tried, found = search({1: 100, 2: 200, 4: 400, 8: 800}, bytes_each=120)
    assert tried == [1, 2, 4]
    best = fastest(found)
    assert best is not None and best.rows == 4


def test_a_size_that_memory_does_not_hold_ends_it() -> None:
    tried, found = search({1: 100, 2: 200}, bytes_each=500)
    assert tried == [1, 2]
    assert [cost.rows for cost in found] == [1]


def test_a_fifth_of_the_memory_is_left() -> None:
    _, found = search({1: 100, 2: 200, 4: 400}, bytes_each=200)  # 4 take 900 of 1000
    assert [cost.rows for cost in found] == [1, 2, 4]
    best = fastest(found)
    assert best is not None and best.rows == 2
    assert fastest([found[-1]]) is None
    _, unlimited = search({1: 100, 2: 200, 4: 400}, bytes_each=200, room=None)
    best = fastest(unlimited)
    assert best is not None and best.rows == 4


def test_of_sizes_that_are_about_as_fast_the_smallest_is_taken() -> None:
    _, found = search({1: 100, 2: 198, 4: 200, 8: 201}, bytes_each=1)
    best = fastest(found)
    assert best is not None and best.rows == 2

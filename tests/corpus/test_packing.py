"""Best fit: every piece once, no row too full, and about as few rows as there can be."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from danlu.corpus.packing import Filling, alike, fill
from danlu.corpus.rows import Widths

SIZES = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 25)), min_size=1, max_size=120)
ROOM = Widths(40, 25)


def best_fit(widths: Widths, room: Widths) -> Filling:
    """Of pieces that are listed."""
    return fill(widths, np.ones(len(widths.inputs), dtype=np.int64), room)


def naive(sizes: list[int], room: int) -> int:
    """Rows that best fit decreasing takes, row by row looked through (Johnson 1973)."""
    left: list[int] = []
    for size in sorted(sizes, reverse=True):
        fitting = [place for place, free in enumerate(left) if free >= size]
        if fitting:
            left[min(fitting, key=lambda place: left[place])] -= size
        else:
            left.append(room - size)
    return len(left)


@given(SIZES)
def test_every_piece_is_in_one_row_that_holds_it(sizes: list[tuple[int, int]]) -> None:
    inputs, source = (np.array(each) for each in zip(*sizes, strict=True))
    filling = best_fit(Widths(inputs, source), ROOM)
    rows = [filling[row] for row in range(len(filling))]
    assert sorted(np.concatenate(rows).tolist()) == list(range(len(sizes)))
    for row in rows:
        assert len(row)
        assert inputs[row].sum() <= ROOM.inputs and source[row].sum() <= ROOM.source


@given(st.lists(st.integers(1, 40), min_size=1, max_size=120))
def test_as_many_rows_as_the_algorithm_of_the_books(sizes: list[int]) -> None:
    filling = best_fit(Widths(np.array(sizes)), Widths(40))
    assert len(filling) == naive(sizes, 40) >= math.ceil(sum(sizes) / 40)


def test_little_is_left_empty_where_lengths_are_natural() -> None:
    sizes = np.clip(np.random.default_rng(1).lognormal(3.5, 1.0, 5000).astype(int), 1, 512)
    filling = best_fit(Widths(sizes), Widths(512))
    assert sizes.sum() / (len(filling) * 512) > 0.98


def naive_with_two_sides(sizes: list[tuple[int, int]], room: Widths) -> int:
    """The same where rows have two sides: the least that is left, each side as a share of a row."""
    left: list[tuple[int, int]] = []

    def size(one: tuple[int, int]) -> float:
        return one[0] / room.inputs + one[1] / room.source

    for inputs, source in sorted(sizes, key=size, reverse=True):
        fitting = [place for place, free in enumerate(left) if free[0] >= inputs and free[1] >= source]
        if fitting:
            best = min(fitting, key=lambda place: size(left[place]))
            left[best] = (left[best][0] - inputs, left[best][1] - source)
        else:
            left.append((room.inputs - inputs, room.source - source))
    return len(left)


@given(SIZES, st.booleans())
def test_two_sides_take_about_as_many_rows_as_row_by_row_looked_through(
    sizes: list[tuple[int, int]], turned: bool
) -> None:
    """Of rows that leave equally little either may be taken, after which they differ."""
    if turned:
        sizes, room = [(max(1, source), inputs) for inputs, source in sizes], Widths(25, 40)
    else:
        room = ROOM
    inputs, source = (np.array(each) for each in zip(*sizes, strict=True))
    filling = best_fit(Widths(inputs, source), room)
    wanted = naive_with_two_sides(sizes, room)
    assert abs(len(filling) - wanted) <= max(1, wanted // 10)
    assert len(filling) >= max(-(-inputs.sum() // room.inputs), -(-source.sum() // room.source))


def test_neither_side_is_left_empty_where_pieces_fill_both_alike() -> None:
    source = np.clip(np.random.default_rng(1).lognormal(4.0, 1.0, 5000).astype(int), 2, 512)
    inputs = np.ceil(source * 0.2).astype(int) + 2
    room = alike(Widths(inputs, source), Widths(105, 512))
    assert room == Widths(-(-inputs.sum() * 512 // source.sum()), 512)
    assert room.inputs > 105
    filling = best_fit(Widths(inputs, source), room)
    assert source.sum() > 0.95 * 512 * len(filling)
    assert inputs.sum() > 0.95 * room.inputs * len(filling)


def test_the_side_that_is_full_may_be_either() -> None:
    """It once looked at the first side and gave up after eight rows: four fifths of this source's places were empty."""
    source = np.clip(np.random.default_rng(1).lognormal(4.0, 1.0, 5000).astype(int), 2, 512)
    inputs = np.ceil(source * 0.2).astype(int) + 2
    for room in (Widths(105, 512), Widths(140, 512), Widths(512, 512)):
        filling = best_fit(Widths(inputs, source), room)
        least = max(inputs.sum() / room.inputs, source.sum() / room.source)
        assert len(filling) < 1.02 * least + 1


def test_room_is_never_narrower_nor_wider_than_the_other_side() -> None:
    sizes = np.array([3, 4]), np.array([50, 40])
    assert alike(Widths(*sizes), Widths(20, 100)) == Widths(20, 100)
    assert alike(Widths(*sizes[::-1]), Widths(20, 100)) == Widths(100, 100)
    assert alike(Widths(sizes[0]), Widths(20)) == Widths(20)
    assert alike(Widths(*sizes), Widths(100, 20)) == Widths(100, 20)

"""Best fit: every piece once, no row too full, and about as few rows as there can be."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.corpus import packing
from danlu.corpus.packing import best_fit
from danlu.corpus.rows import Widths

SIZES = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 25)), min_size=1, max_size=120)
ROOM = Widths(40, 25)


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
    order, borders = best_fit(Widths(inputs, source), ROOM)
    assert sorted(order.tolist()) == list(range(len(sizes)))
    assert borders[0] == 0 and borders[-1] == len(sizes) and (np.diff(borders) > 0).all()
    for start, end in pairwise(borders):
        row = order[start:end]
        assert inputs[row].sum() <= ROOM.inputs and source[row].sum() <= ROOM.source


@given(st.lists(st.integers(1, 40), min_size=1, max_size=120))
def test_as_many_rows_as_the_algorithm_of_the_books(sizes: list[int]) -> None:
    _, borders = best_fit(Widths(np.array(sizes)), Widths(40))
    assert len(borders) - 1 == naive(sizes, 40) >= math.ceil(sum(sizes) / 40)


def test_little_is_left_empty_where_lengths_are_natural() -> None:
    sizes = np.clip(np.random.default_rng(1).lognormal(3.5, 1.0, 5000).astype(int), 1, 512)
    _, borders = best_fit(Widths(sizes), Widths(512))
    assert sizes.sum() / ((len(borders) - 1) * 512) > 0.98


def test_a_second_side_that_does_not_fit_is_looked_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows 0 and 1 have room for the last piece on one side only, and are looked at before row 2, which is fuller."""
    inputs, source = np.array([31, 30, 30, 5]), np.array([0, 12, 11, 5])
    sizes = Widths(inputs, source), Widths(40, 16)
    assert len(best_fit(*sizes)[1]) - 1 == 3
    order, borders = best_fit(*sizes)
    assert set(order[borders[2] : borders[3]].tolist()) == {0, 3}
    monkeypatch.setattr(packing, "TRIES", 1)
    assert len(best_fit(Widths(np.array([31, 35, 5]), np.array([0, 16, 5])), Widths(40, 16))[1]) - 1 == 3

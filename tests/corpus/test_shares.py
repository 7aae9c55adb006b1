"""Rows are of parts in the shares that were asked for, at any number, without counting up to it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.corpus import shares
from danlu.corpus.shares import BLOCK, GOLDEN, ONE, Shares, Stretch, _below, _floors

WEIGHTS = st.lists(st.floats(0, 1) | st.sampled_from([0.0, 1e-3, 1e-9]), min_size=1, max_size=12).filter(
    lambda weights: sum(weights) > 0
)


def wanted(order: Shares, rows: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Rows of each part as real numbers, in float64."""
    ends = [*(stretch.first for stretch in order.stretches[1:]), rows]
    found = np.zeros(len(order.stretches[0].weights))
    for stretch, end in zip(order.stretches, ends, strict=True):
        weights = np.array(stretch.weights)
        found += max(0, min(end, rows) - stretch.first) * weights / weights.sum()
    return found


@given(weights=WEIGHTS, seed=st.integers(0, 99), rows=st.integers(0, 10**10))
def test_so_many_rows_have_the_shares_but_for_some_rows(weights: list[float], seed: int, rows: int) -> None:
    order = Shares(seed, (Stretch(0, tuple(weights)),))
    found = order.before(rows)
    assert found.sum() == rows and (found >= 0).all()
    assert not found[np.array(weights) == 0].any()
    np.testing.assert_allclose(found, wanted(order, rows), atol=8, rtol=1e-13)
    whole = order.before(rows - rows % BLOCK + BLOCK) - order.before(rows - rows % BLOCK)
    assert (np.abs(whole - BLOCK * np.array(weights) / sum(weights)) <= 1 + 1e-6).all()  # of a block, a row at most


@given(weights=WEIGHTS, borders=st.lists(st.integers(1, 400), max_size=3, unique=True), seed=st.integers(0, 9))
def test_every_row_of_a_part_comes_once_and_in_turn(weights: list[float], borders: list[int], seed: int) -> None:
    """Also where the shares change within a block: a part goes on where it was."""
    turned = [weights, weights[::-1], weights[1:] + weights[:1], weights]
    firsts = [0, *sorted(borders)]
    order = Shares(seed, tuple(Stretch(*each) for each in zip(firsts, map(tuple, turned), strict=False)))
    had = np.zeros(len(weights), dtype=np.int64)
    for number in range(500):
        if number % 7 == 0 or number in firsts:
            assert order.before(number).tolist() == had.tolist()
        part, row = order.where(number)
        assert row == had[part]
        had[part] += 1
    np.testing.assert_allclose(had, wanted(order, 500), atol=6 + 3 * len(borders))


@given(numbers=st.lists(st.integers(0, 10**15), min_size=1, max_size=5), seed=st.integers(0, 9))
def test_where_a_row_is_does_not_depend_on_what_was_asked_before(numbers: list[int], seed: int) -> None:
    stretches = (Stretch(0, (3.0, 1.0, 0.1)), Stretch(100, (0.0, 1.0, 2.0)))
    used = Shares(seed, stretches)
    for number in numbers:
        assert used.where(number) == Shares(seed, stretches).where(number)
        part, row = used.where(number)
        after = Shares(seed, stretches).before(number + 1)
        assert after[part] == row + 1 and after.sum() == number + 1


def test_a_far_row_is_found_without_the_rows_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """By how many blocks are looked at: the same few, however far."""
    looked: list[int] = []
    count = Shares._count
    monkeypatch.setattr(Shares, "_count", lambda self, *where: looked.append(1) or count(self, *where))
    Shares(1, (Stretch(0, (1.0, 2.0)), Stretch(10**14, (2.0, 1.0)))).where(10**15)
    assert len(looked) <= 2


@given(count=st.integers(0, 60), begin=st.integers(0, ONE - 1), bound=st.integers(0, ONE - 1))
def test_sums_of_floors_are_those_of_one_floor_after_the_other(count: int, begin: int, bound: int) -> None:
    assert _floors(count, GOLDEN, begin) == sum((GOLDEN * n + begin) // ONE for n in range(count))
    assert _below(bound, begin, count) == sum((GOLDEN * n + begin) % ONE < bound for n in range(count))


def test_blocks_are_in_other_orders_and_seeds_differ() -> None:
    orders = {seed: Shares(seed, (Stretch(0, (1.0, 1.0, 2.0)),)) for seed in (1, 2)}
    each = {seed: [tuple(order.where(n * BLOCK + place)[0] for place in range(BLOCK)) for n in range(50)]
            for seed, order in orders.items()}  # fmt: skip
    assert len(set(each[1])) > 45 and each[1] != each[2]


def test_golden_is_the_golden_ratio() -> None:
    assert abs(GOLDEN / ONE - (5**0.5 - 1) / 2) < 1e-15
    assert shares.BLOCKS_AT_ONCE > 1

"""Steps of rows of all lengths: each epoch deals every row once, and no step has much more than another."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from danlu.corpus.buckets import WIDTH_STEP, Buckets
from danlu.corpus.rows import Widths

ROOM = Widths(200, 100)
SIZES = st.dictionaries(
    st.tuples(st.integers(1, 200), st.integers(0, 100)), st.integers(1, 40), min_size=1, max_size=20
)


def make(kinds: dict[tuple[int, int], int], batch: int, micro_batch: int = 2, seed: int = 1) -> Buckets:
    inputs, source = np.array([*kinds]).T
    return Buckets(Widths(inputs, source), np.array([*kinds.values()]), ROOM, batch, micro_batch, seed)


@settings(max_examples=60)
@given(kinds=SIZES, batch=st.integers(1, 6), micro_batch=st.integers(1, 6))
def test_every_epoch_has_each_row_once_and_its_steps_are_alike(
    kinds: dict[tuple[int, int], int], batch: int, micro_batch: int
) -> None:
    steps = make(kinds, batch, micro_batch)
    each = np.repeat(np.array([*kinds]), [*kinds.values()], axis=0)
    costs, full = each.sum(1), sum(ROOM)
    assert steps.per_epoch == math.ceil(costs.sum() / (batch * full))
    for epoch in range(3):
        found, held = [], []
        for step in range(epoch * steps.per_epoch, (epoch + 1) * steps.per_epoch):
            groups = steps(step)
            rows = np.array([number for group in groups for number in group.numbers]) - epoch * len(each)
            assert (np.diff(costs[rows]) <= 0).all(), "the longest first"
            for group in groups:
                inside = each[np.array(group.numbers) - epoch * len(each)]
                assert (inside <= np.array(group.widths)).all() and group.widths.fit(ROOM)
                assert (np.array(group.widths) - inside.max(0) < WIDTH_STEP).all()
                widest = -(-inside[0] // WIDTH_STEP) * WIDTH_STEP
                assert len(inside) == 1 or len(inside) * np.minimum(widest, ROOM).sum() <= micro_batch * full
            found += rows.tolist()
            held.append(int(costs[rows].sum()))
        assert sorted(found) == list(range(len(each)))
        assert max(held) - min(held) <= costs.max()


@given(kinds=SIZES, batch=st.integers(1, 4), step=st.integers(0, 10**9))
def test_any_step_is_computed_alone_and_micro_batches_change_nothing(
    kinds: dict[tuple[int, int], int], batch: int, step: int
) -> None:
    rows = [
        [number for group in make(kinds, batch, micro_batch)(step) for number in group.numbers]
        for micro_batch in (1, 3, 3)
    ]
    assert rows[0] == rows[1] == rows[2]


@pytest.mark.parametrize("steps", [2, 5])
def test_a_row_comes_in_every_step_equally_often_whatever_came_in_the_epoch_before(steps: int) -> None:
    """And beside any row of another layer equally often: chi-square, with bounds that fixed seeds meet every time."""
    kinds = {(100, 0): 2 * steps}
    buckets = make(kinds, batch=1)
    buckets.per_epoch, epochs = steps, 1500
    place = np.zeros((epochs, 2 * steps), dtype=np.int64)
    for epoch in range(epochs):
        for turn in range(steps):
            rows = np.concatenate([group.numbers for group in buckets(epoch * steps + turn)])
            place[epoch, rows - epoch * 2 * steps] = turn
    for row in (0, 1, 2 * steps - 1):
        assert stats.chisquare(np.bincount(place[:, row], minlength=steps)).pvalue > 1e-4
        pairs = place[1:, row] * steps + place[:-1, row]
        assert stats.chisquare(np.bincount(pairs, minlength=steps**2)).pvalue > 1e-4
    beside = place[:, 0] * steps + place[:, steps]
    assert stats.chisquare(np.bincount(beside, minlength=steps**2)).pvalue > 1e-4

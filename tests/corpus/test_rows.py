"""Rows of the ring: every target once an epoch, in pairs that are adjacent in the stream, by number alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.corpus.rows import Rows
from danlu.corpus.store import TokenStore

SIZES = st.integers(1, 150)
LENGTHS = st.integers(1, 60)
SEEDS = st.integers(0, 2**32 - 1)


def ring(targets: int) -> TokenStore:
    """A stream whose every id says where it stands; the last is the first again, as eot is in a real one."""
    tokens = np.append(np.arange(targets), 0).astype("<u2")
    return TokenStore(tokens, np.array([0, targets]), [{}], vocab_size=targets, eot=0)


@given(targets=SIZES, length=LENGTHS, seed=SEEDS)
def test_an_epoch_holds_every_target_once_behind_the_token_that_precedes_it(
    targets: int, length: int, seed: int
) -> None:
    rows = Rows(ring(targets), length, seed)
    for epoch in range(3):
        numbers = range(epoch * rows.per_epoch, (epoch + 1) * rows.per_epoch)
        inputs = np.concatenate([rows[number][:-1] for number in numbers])
        wanted = np.concatenate([rows[number][1:] for number in numbers])
        assert sorted(wanted) == list(range(targets))
        assert ((inputs + 1) % targets == wanted).all()


@given(targets=SIZES, length=LENGTHS, seed=SEEDS)
def test_all_rows_of_an_epoch_are_full_but_one(targets: int, length: int, seed: int) -> None:
    rows = Rows(ring(targets), length, seed)
    sizes = sorted(len(rows[number]) - 1 for number in range(rows.per_epoch))
    assert sizes[1:] == [length] * (rows.per_epoch - 1)
    assert 1 <= sizes[0] <= length


@given(targets=SIZES, length=LENGTHS, seed=SEEDS, numbers=st.lists(st.integers(0, 500), max_size=12))
def test_a_row_depends_on_its_number_only(targets: int, length: int, seed: int, numbers: list[int]) -> None:
    used = Rows(ring(targets), length, seed)
    for number in numbers:
        np.testing.assert_array_equal(used[number], Rows(ring(targets), length, seed)[number])


@settings(max_examples=20)
@given(seed=SEEDS)
def test_epochs_and_seeds_differ_in_order_and_in_where_rows_begin(seed: int) -> None:
    rows = Rows(ring(1000), 10, seed)
    epochs = [[rows[number] for number in range(epoch * 100, (epoch + 1) * 100)] for epoch in range(3)]
    other = [Rows(ring(1000), 10, (seed + 1) % 2**32)[number] for number in range(100)]
    firsts = [tuple(int(row[0]) for row in epoch) for epoch in [*epochs, other]]
    assert len(set(firsts)) == 4
    # Two in a row may begin at the same border by chance, one time in ten; not all four.
    assert len({frozenset(order) for order in firsts}) > 1


def test_a_wider_stream_is_read_as_it_is() -> None:
    wide = replace(ring(300), tokens=np.append(np.arange(300) + 70_000, 70_000).astype("<u4"))
    row = Rows(wide, 300, 5)[0]
    assert row.dtype == np.int64
    assert sorted(row[1:]) == list(range(70_000, 70_300))

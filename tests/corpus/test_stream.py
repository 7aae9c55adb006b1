"""Rows of the ring: every target once an epoch, in pairs that are adjacent in the stream, by number alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.corpus.rows import Ints, Piece
from danlu.corpus.store import TokenStore
from danlu.corpus.stream import StreamRows

SIZES = st.integers(1, 150)
LENGTHS = st.integers(1, 60)
SEEDS = st.integers(0, 2**32 - 1)


def tokens_of(pieces: Iterable[Piece]) -> Ints:
    """All tokens that are learned in a row."""
    return np.concatenate([piece.tokens[1:] for piece in pieces])


def ring(targets: int) -> TokenStore:
    """A stream whose every id says where it stands; the last is the first again, as eot is in a real one."""
    tokens = np.append(np.arange(targets), 0).astype("<u2")
    return TokenStore(tokens, np.array([0, targets]), [{}], vocab_size=targets, eot=0)


@given(targets=SIZES, length=LENGTHS, seed=SEEDS)
def test_an_epoch_holds_every_target_once_behind_the_token_that_precedes_it(
    targets: int, length: int, seed: int
) -> None:
    rows = StreamRows(ring(targets), length, seed)
    for epoch in range(3):
        numbers = range(epoch * rows.per_epoch, (epoch + 1) * rows.per_epoch)
        inputs = np.concatenate([piece.tokens[:-1] for number in numbers for piece in rows[number]])
        wanted = np.concatenate([tokens_of(rows[number]) for number in numbers])
        assert sorted(wanted) == list(range(targets))
        assert ((inputs + 1) % targets == wanted).all()


@given(targets=SIZES, length=LENGTHS, seed=SEEDS)
def test_all_rows_of_an_epoch_are_full_but_one(targets: int, length: int, seed: int) -> None:
    rows = StreamRows(ring(targets), length, seed)
    sizes = sorted(len(tokens_of(rows[number])) for number in range(rows.per_epoch))
    assert sizes[1:] == [length] * (rows.per_epoch - 1)
    assert 1 <= sizes[0] <= length


@given(targets=SIZES, length=LENGTHS, seed=SEEDS, numbers=st.lists(st.integers(0, 500), max_size=12))
def test_a_row_depends_on_its_number_only(targets: int, length: int, seed: int, numbers: list[int]) -> None:
    used = StreamRows(ring(targets), length, seed)
    for number in numbers:
        again = StreamRows(ring(targets), length, seed)[number]
        assert [piece.start for piece in used[number]] == [piece.start for piece in again]
        np.testing.assert_array_equal(tokens_of(used[number]), tokens_of(again))


@settings(max_examples=20)
@given(seed=SEEDS)
def test_epochs_and_seeds_differ_in_order_and_in_where_rows_begin(seed: int) -> None:
    rows = StreamRows(ring(1000), 10, seed)
    epochs = [[rows[number] for number in range(epoch * 100, (epoch + 1) * 100)] for epoch in range(3)]
    other = [StreamRows(ring(1000), 10, (seed + 1) % 2**32)[number] for number in range(100)]
    firsts = [tuple(int(row[0].tokens[0]) for row in epoch) for epoch in [*epochs, other]]
    assert len(set(firsts)) == 4
    # Two in a row may begin at the same border by chance, one time in ten; not all four.
    assert len({frozenset(order) for order in firsts}) > 1


def test_a_wider_stream_is_read_as_it_is() -> None:
    wide = replace(ring(300), tokens=np.append(np.arange(300) + 70_000, 70_000).astype("<u4"))
    row = StreamRows(wide, 300, 5)[0]
    assert row[0].tokens.dtype == np.int64
    assert sorted(tokens_of(row)) == list(range(70_000, 70_300))


@pytest.mark.parametrize("seed", range(5))
def test_a_piece_is_of_one_document_and_knows_where_it_stands(seed: int) -> None:
    lengths = [6, 0, 1, 12, 3]
    tokens = [0, *(token for number, length in enumerate(lengths) for token in [*[number + 1] * length, 0])]
    starts = np.cumsum([0, *(length + 1 for length in lengths)])
    store = TokenStore(np.array(tokens, dtype="<u2"), starts, [{}] * 5, vocab_size=9, eot=0)
    rows = StreamRows(store, 7, seed)
    pieces = [piece for number in range(rows.per_epoch) for piece in rows[number]]
    assert sorted(tokens_of(pieces)) == sorted(tokens[1:])
    for piece in pieces:
        assert set(piece.body.tolist()) <= {piece.document + 1}
        assert tokens[piece.start : piece.start + len(piece.tokens)] == piece.tokens.tolist()
        assert piece.closes == (piece.tokens[-1] == 0)
        assert len(piece.body) == len(piece.tokens) - 1 - piece.closes

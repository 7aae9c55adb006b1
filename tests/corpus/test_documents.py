"""Documents in pieces: nothing lost, nothing twice but what overlaps, and everything by number alone."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.corpus.documents import Cuts, DocumentRows, chunks, heads, tails
from danlu.corpus.packing import one_each
from danlu.corpus.rows import Piece
from danlu.corpus.store import TokenStore

EOT = 0
LENGTHS = st.lists(st.integers(0, 40), min_size=1, max_size=8)


def store_of(lengths: list[int]) -> TokenStore:
    """Token ``100 * document + place``, both counted from 1."""
    tokens = [EOT]
    for number, length in enumerate(lengths, 1):
        tokens += [*(100 * number + place for place in range(1, length + 1)), EOT]
    starts = np.cumsum([0, *(length + 1 for length in lengths)])
    return TokenStore(np.array(tokens, dtype="<u2"), starts, [{}] * len(lengths), vocab_size=1000, eot=EOT)


def pieces(store: TokenStore, cuts: Cuts) -> list[Piece]:
    rows = DocumentRows(store, cuts, one_each(len(cuts)), seed=1, in_order=True)
    return [piece for number in range(rows.per_epoch) for piece in rows[number]]


@given(lengths=LENGTHS, longest=st.integers(1, 12), data=st.data())
def test_chunks_hold_every_token_once(lengths: list[int], longest: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, longest - 1))
    store = store_of(lengths)
    found = pieces(store, chunks(store, longest=longest, overlap=overlap))
    new = [token for piece in found for token in piece.body[piece.seen :].tolist()]
    assert new == [token for token in store.tokens.tolist() if token != EOT]
    assert sum(piece.closes for piece in found) == len(lengths)
    for piece in found:
        assert len(piece.body) <= longest
        assert {token // 100 for token in piece.body.tolist()} <= {piece.document + 1}
        assert store.tokens[piece.start] == piece.tokens[0]
        assert piece.seen in (0, overlap)
    for before, piece in pairwise(found):
        if piece.document == before.document:
            assert piece.body[: piece.seen].tolist() == before.body[len(before.body) - piece.seen :].tolist()


@given(lengths=LENGTHS, longest=st.integers(2, 12), shortest=st.integers(1, 3), data=st.data())
def test_what_is_used_and_what_is_not_is_all(
    lengths: list[int], longest: int, shortest: int, data: st.DataObject
) -> None:
    overlap = data.draw(st.integers(0, longest - 1))
    cuts = chunks(store_of(lengths), longest=longest, overlap=overlap)
    used = cuts.only(cuts.bodies >= shortest)
    lost = [body - seen for body, seen in zip(cuts.bodies.tolist(), cuts.seen.tolist(), strict=True) if body < shortest]
    assert used.unused == (sum(each > 0 for each in lost), sum(lost))
    assert int((used.bodies - used.seen).sum()) + used.unused.tokens == sum(lengths)
    assert used[np.arange(len(used))].unused == used.unused


@given(lengths=LENGTHS, longest=st.integers(1, 12))
def test_heads_and_tails_are_the_ends_of_documents(lengths: list[int], longest: int) -> None:
    store = store_of(lengths)
    first, last = (pieces(store, cut(store, longest=longest)) for cut in (heads, tails))
    for number, length in enumerate(lengths):
        document = list(range(100 * (number + 1) + 1, 100 * (number + 1) + length + 1))
        assert first[number].body.tolist() == document[:longest]
        assert first[number].closes == (length <= longest)
        assert last[number].body.tolist() == document[max(0, length - longest) :]
        assert last[number].closes


def test_an_epoch_has_every_row_once_in_an_order_of_its_own() -> None:
    store = store_of([3] * 50)
    cuts = chunks(store, longest=5)
    rows = DocumentRows(store, cuts, one_each(50, 2), seed=4)
    assert rows.per_epoch == 25
    epochs = [[tuple(p.document for p in rows[n]) for n in range(e * 25, e * 25 + 25)] for e in range(3)]
    assert all(sorted(epoch) == sorted(epochs[0]) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    again = DocumentRows(store, cuts, one_each(50, 2), seed=4)
    assert [p.document for p in again[63]] == list(epochs[2][13])
    other = DocumentRows(store, cuts, one_each(50, 2), seed=5)
    assert [tuple(p.document for p in other[n]) for n in range(25)] != epochs[0]


@pytest.mark.parametrize("step", [0, 7, 2])
def test_a_row_depends_on_its_number_only(step: int) -> None:
    store = store_of([4, 9, 2, 0, 30])
    cuts = chunks(store, longest=6, overlap=2)
    used = DocumentRows(store, cuts, one_each(len(cuts)), seed=3)
    for number in (12, 3, step):
        fresh = DocumentRows(store, cuts, one_each(len(cuts)), seed=3)
        assert [p.start for p in used[number]] == [p.start for p in fresh[number]]

"""Pieces that are computed from lengths: they are those that a list of all pieces has."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Literal

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from danlu.corpus.packing import Filling, fill
from danlu.corpus.pieces import by_length, listed
from danlu.corpus.reading import Documents, Packed, Padded
from danlu.corpus.rows import Ints, Widths, longest_body
from danlu.corpus.store import TokenStore

LENGTHS = st.lists(st.integers(0, 40), min_size=1, max_size=40)
LONG = st.sampled_from(["chunk", "head", "tail"])


class Listed:
    """A form of two sides that makes nothing of one token, whose pieces are listed."""

    by_length = False

    def __init__(self, room: Widths) -> None:
        self.room = room
        self.longest = longest_body(self)

    def widths(self, body: Ints) -> Widths:
        return Widths(np.where(body > 1, 1 + body // 3, 0), np.where(body > 1, body, 0))

    def measure(self, store: TokenStore, starts: Ints, bodies: Ints) -> Widths:
        return self.widths(bodies)


class Computed(Listed):
    by_length = True

    def measure(self, store: TokenStore, starts: Ints, bodies: Ints) -> Widths:
        raise AssertionError("nothing is listed")


def store_of(lengths: list[int]) -> TokenStore:
    tokens = [0]
    for number, length in enumerate(lengths, 1):
        tokens += [*range(100 * number, 100 * number + length), 0]
    starts = np.cumsum([0, *(length + 1 for length in lengths)])
    return TokenStore(np.array(tokens, dtype="<u4"), starts, [{}] * len(lengths), vocab_size=10_000, eot=0)


@given(lengths=LENGTHS, long=LONG, data=st.data())
def test_they_are_those_of_a_list(
    lengths: list[int], long: Literal["chunk", "head", "tail"], data: st.DataObject
) -> None:
    room = Widths(5, data.draw(st.integers(3, 14)))
    overlap = data.draw(st.integers(0, longest_body(Listed(room)) - 1)) if long == "chunk" else 0
    store = store_of([*lengths, 7])
    theirs = listed(store, Listed(room), long=long, overlap=overlap)
    cuts: Any = theirs.pieces
    found = by_length(store, Computed(room), long=long, overlap=overlap)
    mine = found.pieces[np.arange(len(found.pieces))]

    def rows(each: Any) -> list[tuple[int, ...]]:
        return sorted(
            zip(*(part.tolist() for part in (each.starts, each.bodies, each.closing, each.seen)), strict=True)
        )

    assert rows(mine) == rows(cuts) and found.pieces.unused == cuts.unused
    widths = Listed(room).widths(mine.bodies)
    assert np.repeat(found.sizes.inputs, found.counts).tolist() == widths.inputs.tolist()
    assert np.repeat(found.sizes.source, found.counts).tolist() == widths.source.tolist()
    assert found.counts.tolist() == theirs.counts.tolist() and found.pieces.tokens == cuts.tokens


class Sided:
    """Pairs, of which only what begins as one and has something of both sides can be used; what is in the text is not
    looked at."""

    by_length = True

    def __init__(self, room: Widths) -> None:
        self.room = room
        self.longest = room.inputs + room.source

    def widths(self, body: Ints) -> Widths:
        raise AssertionError("sides are known")

    def measure(self, store: TokenStore, starts: Ints, bodies: Ints) -> Widths:
        numbers = np.searchsorted(store.starts, starts) - 1
        source = store.first_sides[numbers].astype(np.int64)
        there = (source > 0) & (bodies > source + 1) & (store.starts[numbers] == starts - 1)
        return Widths(np.where(there, bodies - source, 0), np.where(there, source, 0))


SIDES = st.lists(st.one_of(st.tuples(st.integers(0, 9), st.integers(0, 20)), st.integers(0, 20)), min_size=1)


@given(sides=SIDES, long=LONG, overlap=st.integers(0, 5))
def test_pairs_are_those_of_a_list_too(
    sides: list[tuple[int, int] | int], long: Literal["chunk", "head", "tail"], overlap: int
) -> None:
    bodies = [[1] * each if isinstance(each, int) else [1] * each[0] + [2] + [3] * each[1] for each in sides]
    starts = np.cumsum([0, *(len(body) + 1 for body in bodies)])
    tokens = np.array([0, *(token for body in bodies for token in [*body, 0])])
    store = TokenStore(tokens, starts, [{}] * len(bodies), vocab_size=9, eot=0, sep=2)
    form = Sided(Widths(6, 4))
    mine, theirs = (
        make(store, form, long=long, overlap=overlap if long == "chunk" else 0) for make in (by_length, listed)
    )
    pieces: list[Any] = [each.pieces[np.arange(len(each.pieces))] for each in (mine, theirs)]
    found, wanted = (
        sorted(zip(*(part.tolist() for part in (each.starts, each.bodies, each.closing, each.seen)), strict=True))
        for each in pieces
    )
    assert found == wanted and mine.pieces.unused == theirs.pieces.unused
    assert mine.pieces.tokens == theirs.pieces.tokens
    for name in ("inputs", "source"):
        sizes = np.repeat(getattr(mine.sizes, name), mine.counts)
        assert sizes.tolist() == getattr(form.measure(store, pieces[0].starts, pieces[0].bodies), name).tolist()


@given(lengths=LENGTHS, room=st.integers(2, 30), kind=st.sampled_from([Packed, Padded]))
def test_rows_hold_what_listed_ones_hold(lengths: list[int], room: int, kind: type[Documents]) -> None:
    store = store_of([*lengths, 2])
    mine, theirs = (kind().rows(store, form(Widths(15, room)), seed=1) for form in (Computed, Listed))
    assert mine.per_epoch == theirs.per_epoch

    def held(rows: Any) -> list[tuple[int, ...]]:
        return sorted(tuple(sorted(len(piece.body) for piece in rows[n])) for n in range(rows.per_epoch))

    assert held(mine) == held(theirs)


@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=60), room=st.integers(2, 40))
def test_no_token_is_lost_or_repeated_and_what_fits_is_whole(lengths: list[int], room: int) -> None:
    """And there are no more rows than first fit decreasing takes at most: 11/9 of the fewest and 2/3 (Dósa 2007)."""
    store = store_of(lengths)
    rows = Packed().rows(store, One(room), seed=3)
    times: Counter[int] = Counter()
    for number in range(rows.per_epoch):
        pieces = rows[number]
        assert 0 < sum(len(piece.body) for piece in pieces) <= room
        for piece in pieces:
            times.update(range(piece.start + 1, piece.start + 1 + len(piece.body)))
            assert lengths[piece.document] > room or (len(piece.body) == lengths[piece.document] and piece.closes)
    text = [place for place, token in enumerate(store.tokens.tolist()) if token]
    assert times == Counter(text)
    pieces = [room] * sum(length // room for length in lengths) + [length % room for length in lengths]
    fewest = max(-(-sum(pieces) // room), sum(2 * piece > room for piece in pieces))
    assert rows.per_epoch <= max(11 / 9 * fewest + 2 / 3, naive(pieces, room))


def naive(sizes: list[int], room: int) -> int:
    """Rows that first fit decreasing takes."""
    left: list[int] = []
    for size in sorted(filter(None, sizes), reverse=True):
        place = next((place for place, free in enumerate(left) if free >= size), None)
        if place is None:
            left.append(room - size)
        else:
            left[place] -= size
    return len(left)


class One:
    """Pieces as they are."""

    by_length = True

    def __init__(self, room: int) -> None:
        self.room, self.longest = Widths(room), room

    def widths(self, body: Ints) -> Widths:
        return Widths(body)

    def measure(self, store: TokenStore, starts: Ints, bodies: Ints) -> Widths:
        return self.widths(bodies)


@given(
    st.lists(st.tuples(st.integers(1, 20), st.integers(1, 30)), min_size=1, max_size=20, unique_by=lambda each: each[0])
)
def test_pieces_of_one_size_go_where_each_would_go(classes: list[tuple[int, int]]) -> None:
    sizes, counts = (np.array(each) for each in zip(*classes, strict=True))
    together = fill(Widths(sizes), counts, Widths(20))
    each = np.repeat(sizes, counts)
    alone = fill(Widths(each), np.ones_like(each), Widths(20))

    def held(filling: Filling) -> list[list[int]]:
        return sorted(sorted(each[filling[row]].tolist()) for row in range(len(filling)))

    assert held(together) == held(alone)
    assert sorted(np.concatenate([together[row] for row in range(len(together))]).tolist()) == list(range(len(each)))


def test_rows_behind_others(tmp_path: Path) -> None:
    sizes, counts = Widths(np.array([3, 5])), np.array([4, 3])
    small, large = (fill(sizes, counts, Widths(9), only=np.array(which)) for which in ([True, False], [False, True]))
    both = small.behind(large)
    assert [both[row].tolist() for row in range(len(both))] == [
        *(large[row].tolist() for row in range(len(large))), *(small[row].tolist() for row in range(len(small)))
    ]  # fmt: skip
    assert len(large) == 3 and len(small) == 2

"""Steps of whole documents in long rows: each epoch has every document once, whatever the rows."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.corpus.batches import Example
from danlu.corpus.reading import Reader, Size
from danlu.corpus.rows import Ints, Piece, Widths
from danlu.corpus.store import TokenStore
from danlu.corpus.together import Together, cut_evenly

EOT = 0


class Plain:
    """A form whose examples are the documents."""

    by_length = True

    def __init__(self, room: int) -> None:
        self.room = Widths(room)
        self.longest = room

    def widths(self, body: Ints) -> Widths:
        return Widths(body)

    def measure(self, store: TokenStore, starts: Ints, bodies: Ints) -> Widths:
        return Widths(bodies)


def example(piece: Piece, *, noise: np.random.Generator) -> Example:
    return Example({"tokens": piece.body}, {"words": piece.body})


def store_of(lengths: list[int]) -> TokenStore:
    """Every token of a document is its number, from 1."""
    tokens = [EOT]
    for number, length in enumerate(lengths, 1):
        tokens += [*[number] * length, EOT]
    starts = np.cumsum([0, *(np.array(lengths) + 1)])
    return TokenStore(np.array(tokens), starts, [{}] * len(lengths), vocab_size=10_000, eot=EOT)


def read(lengths: list[int], *, batch: int, micro_batch: int, seed: int = 1, readers: int = 1) -> Reader:
    form: Any = Plain(max(lengths))
    return Together().read(store_of(lengths), form, example, size=Size(batch, micro_batch, readers), seed=seed)


def documents(reader: Reader, step: int) -> list[int]:
    """Those of a step, by their numbers."""
    found = []
    for batch in reader.batches(step):
        tokens, segments = batch.inputs["tokens"][0], batch.inputs["segments"][0]
        assert (segments >= 0).all(), "no padding"
        found += [int(tokens[segments == each][0]) for each in segments.unique()]
    return found


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(1, 9), st.integers(1, 3))
def test_every_epoch_has_each_document_once(lengths: list[int], batch: int, micro_batch: int) -> None:
    reader = read(lengths, batch=batch, micro_batch=micro_batch)
    own = min(batch, len(lengths))
    assert reader.steps_per_epoch == len(lengths) / own
    steps = len(lengths)  # so many steps are so many epochs as a step has documents
    counts = Counter(number for step in range(steps) for number in documents(reader, step))
    assert counts == dict.fromkeys(range(1, len(lengths) + 1), own)
    for step in range(steps):
        micro = reader.batches(step)
        assert sum(each.tokens for each in micro) == sum(lengths[number - 1] for number in documents(reader, step))
        limit = micro_batch * max(lengths)
        assert all(each.inputs["tokens"].shape[1] <= limit for each in micro)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(1, 60), st.integers(1, 9), st.integers(2, 4))
def test_each_of_several_processes_has_its_part_of_a_step(
    lengths: list[int], batch: int, micro_batch: int, readers: int
) -> None:
    alone = read(lengths, batch=batch, micro_batch=micro_batch)
    shared = read(lengths, batch=batch, micro_batch=micro_batch, readers=readers)
    for step in range(3):
        parts = [each.inputs["tokens"].shape[1] for each in shared.batches(step)]
        assert sorted(documents(shared, step)) == sorted(documents(alone, step))
        assert max(parts) <= micro_batch * max(lengths)
        own = min(batch, len(lengths))
        assert len(parts) % readers == 0 or len(parts) == own
        assert min(parts) > 0 and len(parts) >= min(readers, own)


def test_processes_have_about_as_many_tokens() -> None:
    assert [each.inputs["tokens"].shape[1] for each in read([5] * 8, batch=8, micro_batch=8).batches(0)] == [40]
    even = read([5] * 8, batch=8, micro_batch=8, readers=2).batches(0)
    assert [each.inputs["tokens"].shape[1] for each in even] == [20, 20]
    long = read([30, 9, 8, 7, 4, 2], batch=6, micro_batch=2, readers=2).batches(0)
    assert [each.inputs["tokens"].shape[1] for each in long] == [30, 30]
    longer = read([30, 1, 1, 1, 1], batch=5, micro_batch=2, readers=2).batches(0)
    assert [each.inputs["tokens"].shape[1] for each in longer] == [30, 4]
    full = read([9, 6, 6, 3], batch=4, micro_batch=1, readers=3).batches(0)  # thirds would be 9, 12 and 3
    assert [each.inputs["tokens"].shape[1] for each in full] == [9, 6, 6, 3]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=7), st.integers(1, 20))
def test_rows_are_few_and_the_longest_is_short(sizes: list[int], limit: int) -> None:
    """By looking at all ways to cut."""

    def longest(cuts: tuple[int, ...]) -> int:
        return max(sum(sizes[one:other]) for one, other in pairwise((0, *cuts, len(sizes))))

    allowed = max(limit, *sizes)
    places = range(1, len(sizes))
    ways = [way for count in range(len(sizes)) for way in combinations(places, count) if longest(way) <= allowed]
    fewest = min(map(len, ways))
    found = cut_evenly(sizes, limit)
    assert found[0] == 0 and len(found) == fewest + 1
    assert longest(tuple(found[1:])) == min(longest(way) for way in ways if len(way) == fewest)


def test_a_step_is_the_same_whenever_it_is_asked_for_and_another_in_each_epoch() -> None:
    lengths = [3, 9, 4, 1, 7, 7, 2, 5]
    straight = read(lengths, batch=4, micro_batch=1)
    steps = [documents(straight, step) for step in range(8)]
    jumped = read(lengths, batch=4, micro_batch=1)
    assert [documents(jumped, step) for step in (7, 2, 5, 0)] == [steps[step] for step in (7, 2, 5, 0)]
    assert len({frozenset(step) for step in steps}) > 2
    assert documents(read(lengths, batch=4, micro_batch=1, seed=2), 0) != steps[0]


@pytest.mark.parametrize(("tokens", "fewest"), [(None, 30), (50, 1)])
def test_a_sample_is_some_documents_or_all_always_the_same(tokens: int | None, fewest: int) -> None:
    lengths = [1 + number % 13 for number in range(30)]
    form: Any = Plain(13)
    samples = [Together().sample(store_of(lengths), form, tokens=tokens, seed=4) for _ in range(2)]
    kept = [[int(piece.body[0]) for group in each.groups for n in group.numbers for piece in each.rows[n]]
            for each in samples]  # fmt: skip
    assert kept[0] == kept[1] and len(set(kept[0])) == len(kept[0]) >= fewest
    total = sum(lengths[number - 1] for number in kept[0])
    assert total == sum(lengths) if tokens is None else 50 <= total <= 50 + 13
    assert all(group.widths.inputs <= 13 for group in samples[0].groups)


@given(count=st.integers(1, 400), tokens=st.integers(1, 500))
@settings(max_examples=30)
def test_a_sample_has_no_more_documents_than_it_needs(count: int, tokens: int) -> None:
    """Of documents of one token each it has as many as tokens are asked for, or all."""
    form: Any = Plain(13)
    sample = Together().sample(store_of([1] * count), form, tokens=tokens, seed=4)
    pieces = [piece for group in sample.groups for number in group.numbers for piece in sample.rows[number]]
    assert len({piece.start for piece in pieces}) == len(pieces) == min(count, tokens) == sample.rows.per_epoch
    assert sample.rows.tokens == 2 * len(pieces)  # an end of text each

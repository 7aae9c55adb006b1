"""Packed rows of two widths: which documents lie where, how steps take turns, and what an epoch holds."""

from __future__ import annotations

import numpy as np
import pytest

from danlu.corpus.batches import Example
from danlu.corpus.quarters import Quarters
from danlu.corpus.reading import Packed, Reader, Size
from danlu.corpus.rows import Ints, Piece, Widths, longest_body
from danlu.corpus.store import TokenStore

EOT = 0
ROOM = Widths(40, 128)


class TwoSided:
    """A form whose decoder reads a third of the text and a token."""

    by_length = True
    room = ROOM

    @property
    def longest(self) -> int:
        return longest_body(self)

    def widths(self, body: Ints) -> Widths:
        return Widths(np.where(body > 0, 1 + body // 3, 0), body)

    def measure(self, store: TokenStore, starts: Ints, bodies: Ints) -> Widths:
        return self.widths(bodies)


def example(piece: Piece, *, noise: np.random.Generator) -> Example:
    inputs = np.full(1 + len(piece.body) // 3, 1)
    return Example({"tokens": inputs}, {"words": inputs}, {"tokens": piece.body})


def store_of(lengths: list[int]) -> TokenStore:
    tokens = [EOT]
    for number, length in enumerate(lengths, 3):
        tokens += [*[number] * length, EOT]
    starts = np.cumsum([0, *(length + 1 for length in lengths)])
    return TokenStore(np.array(tokens, dtype="<u2"), starts, [{}] * len(lengths), vocab_size=2000, eot=EOT)


def read(lengths: list[int]) -> Reader:
    return Quarters().read(store_of(lengths), TwoSided(), example, size=Size(8, 4), seed=2)


@pytest.fixture(scope="module")
def reader() -> Reader:
    return read(
        [
            *np.random.default_rng(5).integers(1, 128, 300).tolist(),
            *np.random.default_rng(6).integers(1, 33, 600).tolist(),
        ]
    )


def test_short_documents_and_no_others_lie_in_narrow_rows(reader: Reader) -> None:
    widths = set()
    for step in range(12):
        for group in reader.batches.groups(step):
            narrow = group.widths.source == ROOM.source // 4
            widths.add(group.widths)
            for number in group.numbers:
                for piece in reader.rows[number]:
                    assert (len(piece.body) <= 32) == narrow
    assert len(widths) == 2


def test_steps_have_as_many_places_and_few_shapes(reader: Reader) -> None:
    shapes, narrow = set(), 0
    for step in range(60):
        batches = reader.batches(step)
        shapes |= {tuple(batch.source["tokens"].shape) for batch in batches}
        assert sum(batch.source["tokens"].numel() for batch in batches) == 8 * ROOM.source
        narrow += sum(len(batch.source["tokens"]) for batch in batches if batch.source["tokens"].shape[1] == 32)
    assert shapes == {(4, 128), (16, 32)}
    assert narrow / 4 == pytest.approx(60 * 8 * _share(reader), abs=4)


def _share(reader: Reader) -> float:
    """Of the places of an epoch, those in rows of short documents."""
    bodies = [max(len(piece.body) for piece in reader.rows[n]) for n in range(reader.rows.per_epoch)]
    narrow = sum(body <= 32 for body in bodies)
    return narrow / (narrow + 4 * (len(bodies) - narrow))


def test_an_epoch_has_every_row_once_and_the_next_another_order(reader: Reader) -> None:
    rows, steps = reader.rows.per_epoch, int(2 * reader.steps_per_epoch)
    groups = [group for step in range(steps) for group in reader.batches.groups(step)]
    for source in (32, 128):
        numbers = [number for group in groups if group.widths.source == source for number in group.numbers]
        first = [number for number in numbers if number < rows]
        second = [number - rows for number in numbers if number >= rows]
        assert len(set(numbers)) == len(numbers)
        assert numbers[: len(first)] == first  # no second epoch of a kind before its first has ended
        assert set(second) <= set(first) and first[: len(second)] != second
        assert len(second) > 0.8 * len(first)  # both kinds come to an end together
    assert {number for group in groups for number in group.numbers if number < rows} == set(range(rows))


def test_the_decoder_of_narrow_rows_is_as_wide_as_short_documents_need(reader: Reader) -> None:
    batches = [batch for step in range(30) for batch in reader.batches(step)]
    for width in (32, 128):
        own = [batch for batch in batches if batch.source["tokens"].shape[1] == width]
        filled = sum(int((batch.source["segments"] >= 0).sum()) for batch in own)
        assert filled > 0.9 * sum(batch.source["segments"].numel() for batch in own)


@pytest.mark.parametrize("lengths", [[20] * 90, [100] * 90])
def test_documents_of_one_kind_are_packed_as_ever(lengths: list[int]) -> None:
    packed = Packed().read(store_of(lengths), TwoSided(), example, size=Size(8, 4), seed=2)
    for step in (0, 3):
        assert read(lengths).batches.groups(step) == packed.batches.groups(step)
        for ours, theirs in zip(read(lengths).batches(step), packed.batches(step), strict=True):
            assert ours.source["tokens"].equal(theirs.source["tokens"])

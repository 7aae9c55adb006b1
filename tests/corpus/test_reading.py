"""The choices of rows: what a step holds, whatever the micro-batch, and what they refuse."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from danlu.corpus.batches import Batch, Example
from danlu.corpus.lengths import Lengths
from danlu.corpus.quarters import Quarters
from danlu.corpus.reading import Bucketed, Packed, Padded, Reader, Size, Stream
from danlu.corpus.rows import Ints, Piece, Widths, longest_body
from danlu.corpus.store import TokenStore
from danlu.corpus.together import Together
from danlu.errors import InputError, RecipeError
from danlu.objectives.protocol import Shape
from danlu.objectives.seq2seq import Seq2Seq

EOT = 0
SEQUENCE = 256
CHOICES = [Packed(), Padded(), Bucketed(), Quarters()]


class Framed:
    """A form with a token before and one behind, as BERT has it; nothing is made of an empty text."""

    by_length = True

    def __init__(self, room: int = SEQUENCE) -> None:
        self.room = Widths(room)

    @property
    def longest(self) -> int:
        return longest_body(self)

    def widths(self, body: Ints) -> Widths:
        return Widths(np.where(body > 0, body + 2, 0))

    def measure(self, store: TokenStore, starts: Ints, bodies: Ints) -> Widths:
        return self.widths(bodies)


def example(piece: Piece, *, noise: np.random.Generator) -> Example:
    tokens = np.concatenate([[1], piece.body, [2]])
    return Example({"tokens": tokens}, {"words": tokens + noise.integers(5)})


@pytest.fixture(scope="module")
def store() -> TokenStore:
    """Documents of many lengths; every token of a document is its number, from 3."""
    lengths = np.clip(np.random.default_rng(3).lognormal(3.0, 1.2, 200).astype(int), 0, 900)
    tokens = [EOT]
    for number, length in enumerate(lengths.tolist(), 3):
        tokens += [*[number] * length, EOT]
    starts = np.cumsum([0, *(lengths + 1)])
    return TokenStore(np.array(tokens, dtype="<u2"), starts, [{}] * 200, vocab_size=300, eot=EOT)


def read(choice: Any, store: TokenStore, *, batch: int = 8, micro_batch: int = 4) -> Reader:
    found: Reader = choice.read(store, Framed(), example, size=Size(batch, micro_batch), seed=7)
    return found


def seen(batches: list[Batch]) -> Counter[int]:
    """How often each token was read, special ones and padding left out."""
    counts: Counter[int] = Counter()
    for batch in batches:
        counts.update(batch.inputs["tokens"][batch.inputs["tokens"] > 2].tolist())
    return counts


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: type(choice).__name__)
def test_an_epoch_reads_every_token_once(choice: Any, store: TokenStore) -> None:
    reader = read(choice, store, batch=4)
    steps = round(reader.steps_per_epoch) if isinstance(choice, Bucketed) else None
    if steps is None:
        rows = range(reader.rows.per_epoch)
        made = [piece.body for number in rows for piece in reader.rows[number]]
        counts: Counter[int] = Counter(token for body in made for token in body.tolist())
    else:
        counts = seen([batch for step in range(steps) for batch in reader.batches(step)])
    wanted = Counter(store.tokens.tolist())
    del wanted[EOT]
    assert counts == wanted


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: type(choice).__name__)
def test_a_step_is_the_same_whatever_the_micro_batch(choice: Any, store: TokenStore) -> None:
    for step in (0, 1, 5, 23):
        whole, cut = (read(choice, store, micro_batch=m).batches(step) for m in (8, 1))
        assert seen(whole) == seen(cut)
        assert sum(b.counts["words"] for b in whole) == sum(b.counts["words"] for b in cut)
        assert sum(b.tokens for b in whole) == sum(b.tokens for b in cut)
        # And so is the noise, which is a row's own.
        sums = [sum(int(b.targets["words"][b.targets["words"] >= 0].sum()) for b in each) for each in (whole, cut)]
        assert sums[0] == sums[1]


def test_packed_rows_are_nearly_full_and_padded_ones_are_not(store: TokenStore) -> None:
    filled = {}
    for choice in (Packed(), Padded()):
        batches = [batch for step in range(5) for batch in read(choice, store).batches(step)]
        filled[type(choice)] = sum(b.tokens for b in batches) / sum(b.inputs["tokens"].numel() for b in batches)
    assert filled[Packed] > 0.95 and filled[Padded] < 0.5


def test_bucketed_steps_hold_the_tokens_of_a_step_in_groups_of_like_length(store: TokenStore) -> None:
    reader = read(Bucketed(), store)
    steps = [reader.batches(step) for step in range(round(reader.steps_per_epoch))]
    held = [sum(batch.tokens for batch in step) for step in steps]
    assert all(8 * SEQUENCE - SEQUENCE <= tokens <= 8 * SEQUENCE + SEQUENCE for tokens in sorted(held)[1:])
    for step in steps:
        assert all(batch.inputs["tokens"].numel() <= 4 * SEQUENCE for batch in step)
        widths = [batch.inputs["tokens"].shape[1] for batch in step]
        assert widths == sorted(widths, reverse=True) and all(width % 64 == 0 for width in widths)
    padded = sum(batch.inputs["tokens"].numel() for step in steps for batch in step)
    assert sum(held) / padded > 0.4  # most documents are far shorter than 64
    assert len({tuple(b.inputs["tokens"][0, 1].item() for b in step) for step in steps}) > 1


@pytest.mark.parametrize("long", ["head", "tail"])
def test_long_documents_can_lose_what_does_not_fit(long: Any, store: TokenStore) -> None:
    rows = Packed(long=long).rows(store, Framed(), seed=1)
    bodies = [piece.body for number in range(rows.per_epoch) for piece in rows[number]]
    assert max(map(len, bodies)) == SEQUENCE - 2
    assert len({int(body[0]) for body in bodies}) == len(bodies)  # one piece a document


class TwoOrMore(Framed):
    def widths(self, body: Ints) -> Widths:
        return Widths(np.where(body > 1, body + 2, 0))


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: type(choice).__name__)
def test_what_is_too_short_is_counted(choice: Any, store: TokenStore) -> None:
    single = Counter(seen_lengths(store))[1]
    assert single > 0
    size = Size(8, 4)
    for rows in (
        choice.read(store, TwoOrMore(), example, size=size, seed=7).rows,
        choice.rows(store, TwoOrMore(), seed=7),
    ):
        assert rows.unused == (single, single)
    assert read(choice, store).rows.unused == (0, 0)  # an empty document is nothing that could be lost


def seen_lengths(store: TokenStore) -> list[int]:
    return (np.diff(store.starts) - 1).tolist()


def test_what_cannot_be_is_refused(store: TokenStore) -> None:
    with pytest.raises(
        RecipeError, match=r"^pretrain\.rows\.overlap must be below 254, the tokens of a chunk; got 254$"
    ):
        Packed(overlap=254).pieces(store, Framed())
    with pytest.raises(RecipeError, match=r"^pretrain\.sequence is too small: no text fits [^\n]*; got 2$"):
        Packed().pieces(store, Framed(2))
    with pytest.raises(RecipeError, match=r"^pretrain\.rows: stream is for objectives that read the text as it stands"):
        Stream().rows(store, Framed(), seed=1)
    empty = TokenStore(np.zeros(4, dtype="<u2"), np.arange(4), [{}] * 3, vocab_size=9, eot=EOT)
    with pytest.raises(InputError, match="no document is long enough"):
        Packed().pieces(empty, Framed())


def test_nothing_of_a_row_is_seen_by_another(store: TokenStore) -> None:
    """Document numbers are consecutive within a row and padding has none."""
    for batch in read(Packed(), store).batches(0):
        tokens, segments = batch.inputs["tokens"], batch.inputs["segments"]
        for row, numbers in zip(tokens, segments, strict=True):
            for number in numbers.unique().tolist():
                inside = row[numbers == number]
                if number < 0:
                    assert not inside.any()
                else:
                    assert torch.equal(inside[1:-1], inside[1].expand(len(inside) - 2))
                    assert inside[0] == 1 and inside[-1] == 2


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: type(choice).__name__)
def test_every_epoch_has_noise_of_its_own(choice: Any, store: TokenStore) -> None:
    reader = read(choice, store)
    numbers = [group.numbers for epoch in (0, 1) for group in _epoch(reader, epoch)]
    flat = [number for each in numbers for number in each]
    assert len(set(flat)) == len(flat)  # the noise of a row hangs on its number


def _epoch(reader: Reader, epoch: int) -> list[Any]:
    steps = int(reader.steps_per_epoch)
    return [group for step in range(epoch * steps, (epoch + 1) * steps) for group in reader.batches.groups(step)]


MANY = 100_000
OPENED: dict[str, tuple[Any, Any]] = {
    "packed": (Packed(), Framed()), "padded": (Padded(), Framed()), "bucketed": (Bucketed(), Framed()),
    "quarters": (Quarters(), Framed()), "together": (Together(), Framed()), "pairs": (Bucketed(), Shape(Seq2Seq(), 64)),
}  # fmt: skip


@pytest.fixture(scope="module")
def many() -> TokenStore:
    """Pairs of a few tokens, and what a store on the disk says of them."""
    sides = np.random.default_rng(5).integers(1, 9, (MANY, 2))
    starts = np.concatenate(([0], np.cumsum(sides.sum(1) + 2)))
    tokens = np.full(starts[-1] + 1, 7, dtype="<u2")
    tokens[starts], tokens[starts[:-1] + sides[:, 0] + 1] = EOT, 3
    firsts = sides[:, 0].astype("<u4")
    order = Lengths.of(starts, firsts)
    return TokenStore(tokens, starts, [{}] * MANY, vocab_size=300, eot=EOT, sep=3, order=order, sides=firsts)


@pytest.mark.parametrize("name", OPENED)
def test_memory_does_not_grow_with_documents(name: str, many: TokenStore) -> None:
    """Less than a byte a document, however far the training is: a list of them would take eight times as much."""
    reading, form = OPENED[name]
    tracemalloc.start()
    try:
        reader = reading.read(many, form, example, size=Size(8, 4), seed=7)
        for step in (0, 7 * int(reader.steps_per_epoch) + 5):
            numbers = [number for group in reader.batches.groups(step) for number in group.numbers]
            assert sum(len(reader.rows[number]) for number in numbers) > 3
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MANY

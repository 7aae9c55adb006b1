"""Which task a row has: by its number and the seed alone, in the shares that were asked for."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.corpus.batches import Batch, Example, make_batch
from danlu.corpus.mixture import Mixture, Part
from danlu.corpus.parts import Selection
from danlu.corpus.reading import Packed, Padded, Reader, Size
from danlu.corpus.rows import Form, Ints, Piece, Widths
from danlu.corpus.shares import BLOCK, BLOCKS_AT_ONCE
from danlu.corpus.store import TokenStore
from danlu.errors import InputError

COUNTS = {"en": 60, "zh": 20, "de": 5}


def make_store(**counts: int) -> TokenStore:
    """Documents of two tokens, each of its own."""
    languages = [language for language, count in counts.items() for _ in range(count)]
    tokens = np.array([0, *(each for n in range(len(languages)) for each in (2 * n + 1, 2 * n + 2, 0))])
    starts = np.arange(len(languages) + 1) * 3
    return TokenStore(tokens, starts, [{"language": each, "source": ""} for each in languages], 1000, 0)


class Short:
    by_length = True
    room = Widths(3)
    longest = 2

    def widths(self, body: Ints) -> Widths:
        return Widths(body + 1)

    def measure(self, store: TokenStore, starts: Ints, bodies: Ints) -> Widths:
        return self.widths(bodies)


class Long(Short):
    room = Widths(6)
    longest = 5


def part(task: str, share: float | None = None, form: Form | None = None) -> Part:
    made = form or Short()
    return Part(task, Selection(language=(task,)), Padded(), lambda _: made, share)


def mixture(*shares: float | None, temperature: float = 1.0) -> Mixture:
    forms = {"en": Short(), "zh": Long(), "de": Short()}
    parts = (part(task, share, forms[task]) for task, share in zip(COUNTS, shares or (None, None, None), strict=True))
    return Mixture(tuple(parts), temperature)


class OnlyLong(Short):
    def widths(self, body: Ints) -> Widths:
        return Widths(np.where(body > 1, body + 1, 0))


def test_what_no_task_can_use_is_counted() -> None:
    store = make_store(en=3, zh=2)
    store = replace(
        store, tokens=np.array([0, 1, 2, 0, 3, 0, 4, 5, 0, 6, 0, 7, 0]), starts=np.array([0, 3, 5, 8, 10, 12])
    )
    form = OnlyLong()
    both = (part("en", form=form), part("zh"))
    assert Mixture(both).rows(store, form, seed=1).unused == (1, 1)  # document 1; for Chinese, one token is enough
    assert Mixture(both).sample(store, form, tokens=None, seed=1).rows.unused == (1, 1)


def example(piece: Piece, *, noise: np.random.Generator) -> Example:
    tokens = piece.tokens[:-1]
    return Example({"tokens": tokens, "noise": noise.integers(1000, size=len(tokens))}, {"words": piece.tokens[1:]})


def read(micro_batch: int = 4, *, batch: int = 12, seed: int = 5, **rest: float) -> Reader:
    size = Size(batch, micro_batch)
    return mixture(**rest).read(make_store(**COUNTS), Short(), example, size=size, seed=seed)


@pytest.mark.parametrize(
    ("shares", "temperature", "expected"),
    [
        ((None, None, None), 1.0, [60 / 85, 20 / 85, 5 / 85]),
        ((None, None, None), 2.0, [60**0.5, 20**0.5, 5**0.5]),
        ((None, None, None), 1e9, [1, 1, 1]),
        ((1.0, 3.0, 0.01), 1.0, [1, 3, 0.01]),
    ],
)
def test_shares_are_those_of_the_sizes_or_as_told(
    shares: tuple[float | None, ...], temperature: float, expected: list[float]
) -> None:
    rows = mixture(*shares, temperature=temperature).rows(make_store(**COUNTS), Short(), seed=3)
    count = BLOCK * BLOCKS_AT_ONCE + 3 * BLOCK
    found = np.bincount([rows.where(number)[0] for number in range(count)], minlength=3) / count
    wanted = np.array(expected) / sum(expected)
    np.testing.assert_allclose(found, wanted, atol=3 / count**0.5 / BLOCK)  # a block is off by a row at most
    orders = {tuple(rows.where(block * BLOCK + place)[0] for place in range(BLOCK)) for block in range(50)}
    assert len(orders) > 10  # tasks come in another order in each block
    for block in range(0, count // BLOCK, 97):
        inner = np.bincount([rows.where(block * BLOCK + place)[0] for place in range(BLOCK)], minlength=3)
        assert (np.abs(inner - BLOCK * wanted) <= 1 + 1e-6).all()


@pytest.mark.parametrize(
    "shares", [(0.0, 0.3, 0.7), (0.3, 0.0, 0.7), (0.1, 0.7, 0.0), (0.0, 0.0, 3.0), (1 / 3, 0.0, 0.0)]
)
def test_a_task_without_a_share_has_no_row_of_a_training(shares: tuple[float, ...]) -> None:
    """Wherever it stands; what is measured has its rows."""
    reading = mixture(*shares)
    rows = reading.rows(make_store(**COUNTS), Short(), seed=3)
    offset = 2 * BLOCK * BLOCKS_AT_ONCE
    numbers = [*range(40 * BLOCK), *range(offset, offset + 40 * BLOCK)]
    assert {piece.task for number in numbers for piece in rows[number]} == {
        task for task, share in zip(COUNTS, shares, strict=True) if share
    }
    assert rows.per_epoch == sum(count for count, share in zip(COUNTS.values(), shares, strict=True) if share)
    assert len(reading.sample(make_store(**COUNTS), Short(), tokens=30, seed=3).groups) == len(COUNTS)


def test_a_task_without_a_share_needs_no_text_to_train_on(capsys: pytest.CaptureFixture[str]) -> None:
    """All of it may be held out, or none."""
    both, alone = mixture(0.0, 0.3, 0.7), Mixture(mixture(0.0, 0.3, 0.7).parts[1:])
    store, size = make_store(zh=20, de=5), Size(12, 4)
    found, wanted = (each.read(store, Short(), example, size=size, seed=5) for each in (both, alone))
    for step in (0, 3):
        assert joined(found.batches(step)) == joined(wanted.batches(step))
    assert (found.steps_per_epoch, found.room) == (wanted.steps_per_epoch, wanted.room)
    assert both.rows(store, Short(), seed=3).per_epoch == 25
    sample = both.sample(make_store(en=60), Short(), tokens=30, seed=3)
    assert {piece.task for number in range(10) for piece in sample.rows[number]} == {"en"}
    capsys.readouterr()
    assert len(both.sample(store, Short(), tokens=30, seed=3).groups) == 2
    assert "tasks.en.documents: no such document is held out" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"tasks.zh.documents: no such document is to train on"):
        both.rows(make_store(en=3, de=5), Short(), seed=3)


@given(numbers=st.lists(st.integers(0, 4 * BLOCK * BLOCKS_AT_ONCE), min_size=1, max_size=4), seed=st.integers(0, 9))
def test_a_row_depends_on_its_number_and_the_seed_alone(numbers: list[int], seed: int) -> None:
    used = mixture().rows(make_store(**COUNTS), Short(), seed=seed)
    for number in numbers:
        fresh = mixture().rows(make_store(**COUNTS), Short(), seed=seed)
        assert used.where(number) == fresh.where(number)


def test_each_task_goes_through_all_of_its_rows_before_it_begins_again() -> None:
    rows = mixture().rows(make_store(**COUNTS), Short(), seed=3)
    at = {task: [number for number in range(3000) if rows.where(number)[0] == n] for n, task in enumerate(COUNTS)}
    for task, numbers in at.items():
        assert [rows.where(number)[1] for number in numbers] == list(range(len(numbers)))
        for epoch in range(2):
            once = numbers[epoch * COUNTS[task] : (epoch + 1) * COUNTS[task]]
            pieces = [rows[number] for number in once]
            assert len({piece.document for [piece] in pieces}) == COUNTS[task]
            assert {piece.store.documents[piece.document]["language"] for [piece] in pieces} == {task}
            assert {piece.task for [piece] in pieces} == {task}


def test_tasks_on_one_text_read_it_in_orders_of_their_own() -> None:
    parts = tuple(Part(name, Selection(), Padded(), lambda _: Short()) for name in ("a", "b"))
    rows = Mixture(parts).rows(make_store(en=50), Short(), seed=3)
    first, second = ([part[n][0].document for n in range(50)] for part in rows.parts)
    assert sorted(first) == sorted(second) and first != second
    alone = Mixture(parts[:1]).rows(make_store(en=50), Short(), seed=3)
    assert [alone.parts[0][n][0].document for n in range(50)] == first  # another task beside it changes nothing


def joined(batches: list[Batch]) -> dict[str, list[list[int]]]:
    rows: dict[str, list[list[int]]] = {}
    for batch in batches:
        both = np.concatenate([batch.inputs["tokens"], batch.inputs["noise"], batch.targets["words"]], axis=1)
        rows.setdefault(batch.task, []).extend(both.tolist())
    return rows


@given(micro_batch=st.integers(1, 12), step=st.integers(0, 300))
def test_a_step_is_the_same_whatever_the_micro_batch(micro_batch: int, step: int) -> None:
    whole, cut = read(12).batches(step), read(micro_batch).batches(step)
    assert joined(whole) == joined(cut)
    assert sum(len(batch.inputs["tokens"]) for batch in cut) == 12
    assert max(len(batch.inputs["tokens"]) for batch in cut) <= micro_batch
    counts: Counter[str] = Counter()
    for batch in cut:
        assert batch.inputs["tokens"].shape[1] == (6 if batch.task == "zh" else 3)
        counts.update(batch.counts)
    assert counts == {f"{batch.task}.words": 3 * len(batch.inputs["tokens"]) for batch in whole}


def test_a_training_reads_the_rows_that_whoever_looks_at_them_sees() -> None:
    trained, shown = read(), mixture().rows(make_store(**COUNTS), Short(), seed=5)
    for number in range(80):
        assert [each.document for each in trained.rows[number]] == [each.document for each in shown[number]]


class Written(Short):
    """Half of a document is written, behind a sentinel and before an end: short ones are written at more length."""

    room = Widths(14, 24)
    longest = 23

    def widths(self, body: Ints) -> Widths:
        return Widths(body // 2 + 2, body + 1)


def test_packed_rows_of_a_task_have_the_wider_decoder_that_they_have_alone() -> None:
    """Two tokens take three places on either side: 14 of the decoder leave the encoder partly empty, 24 fill it."""
    store, size, form = make_store(en=160, zh=40), Size(12, 12), Written()
    parts = tuple(Part(task, Selection(language=(task,)), Packed(), lambda _: form) for task in ("en", "zh"))
    found = Mixture(parts).read(store, form, two_sided, size=size, seed=3)
    alone = Packed().read(store, form, two_sided, size=size, seed=3)
    assert found.room == alone.room == Widths(24, 24)
    assert found.rows.per_epoch == alone.rows.per_epoch == 200 * 3 / 24
    for batch in found.batches(0):
        sides = {side["tokens"].shape[1] for side in (batch.inputs, batch.source)}
        assert sides == {24} and (batch.source["segments"] >= 0).all()


def two_sided(piece: Piece, *, noise: np.random.Generator) -> Example:
    tokens = piece.tokens[:3]
    return Example({"tokens": tokens}, {"words": tokens}, {"tokens": tokens})


def test_halves_keep_their_task_and_its_counts() -> None:
    [batch] = [each for each in read(12).batches(0) if each.task == "en"]
    parts = batch.halves()
    assert [part.task for part in parts] == ["en", "en"]
    assert sum(part.counts["en.words"] for part in parts) == batch.counts["en.words"] > 0


def test_an_epoch_is_as_many_steps_as_hold_all_rows() -> None:
    assert read().steps_per_epoch == 85 / 12


def test_what_is_measured_has_every_task() -> None:
    sample = mixture().sample(make_store(**COUNTS), Short(), tokens=30, seed=3)
    noise = np.random.default_rng(0)
    batches = [make_batch(sample.rows, example, group, lambda _: noise) for group in sample.groups]
    assert {batch.task: tuple(batch.inputs["tokens"].shape) for batch in batches} == {
        "en": (10, 3), "zh": (5, 6), "de": (5, 3),
    }  # fmt: skip
    assert sample.rows.per_epoch == 85
    with pytest.raises(IndexError):
        sample.rows[85]


def test_a_task_without_documents(capsys: pytest.CaptureFixture[str]) -> None:
    message = r"tasks.de.documents: no such document is to train on \(languages: en, zh; sources: \)"
    with pytest.raises(InputError, match=message):
        mixture().rows(make_store(en=3, zh=3), Short(), seed=1)
    sample = mixture().sample(make_store(en=3, zh=3), Short(), tokens=30, seed=3)
    assert len(sample.groups) == 2
    assert "tasks.de.documents: no such document is held out" in capsys.readouterr().out
    only = replace(mixture(), parts=(part("fr"),))
    with pytest.raises(InputError, match=r"tasks.fr.documents: no such document is held out"):
        only.sample(make_store(en=3), Short(), tokens=30, seed=3)

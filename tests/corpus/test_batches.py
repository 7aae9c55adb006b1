"""Micro-batches: the same step whatever their size; padding that is never scored."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from danlu.corpus.batches import IGNORE, PADDING, Batch, EqualGroups, Example, StepBatches, collate
from danlu.corpus.rows import Piece, Widths
from danlu.corpus.store import TokenStore
from danlu.corpus.stream import StreamRows

BATCH = 6


def noisy(piece: Piece, *, noise: np.random.Generator) -> Example:
    """Half of the targets, chosen at random, and inputs with something random added."""
    row = piece.tokens
    targets = np.where(noise.random(len(row) - 1) < 0.5, row[1:], IGNORE)
    shift = row[:-1] + noise.integers(100, size=len(row) - 1)
    return Example({"tokens": row[:-1], "shift": shift}, {"words": targets})


def step_batches(micro_batch: int, *, targets: int = 95, seed: int = 4) -> StepBatches:
    tokens = np.append(np.arange(targets), 0).astype("<u2")
    store = TokenStore(tokens, np.array([0, targets]), [{}], vocab_size=targets, eot=0)
    return StepBatches(StreamRows(store, 10, seed), noisy, EqualGroups(BATCH, micro_batch, Widths(10)))


def joined(batches: list[Batch]) -> dict[str, torch.Tensor]:
    parts = [{**batch.inputs, **batch.targets} for batch in batches]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


@given(micro_batch=st.integers(1, BATCH), step=st.integers(0, 40))
def test_the_global_batch_is_the_same_whatever_the_micro_batch(micro_batch: int, step: int) -> None:
    whole, cut = step_batches(BATCH)(step), step_batches(micro_batch)(step)
    assert [len(batch.targets["words"]) for batch in cut[:-1]] == [micro_batch] * (len(cut) - 1)
    assert sum(batch.counts["words"] for batch in cut) == whole[0].counts["words"]
    assert sum(batch.tokens for batch in cut) == whole[0].tokens
    a, b = joined(whole), joined(cut)
    assert all(torch.equal(a[name], b[name]) for name in a)


@given(steps=st.lists(st.integers(0, 40), min_size=2, max_size=6))
def test_a_step_does_not_depend_on_the_steps_before(steps: list[int]) -> None:
    used = step_batches(2)
    for step in steps:
        a, b = joined(used(step)), joined(step_batches(2)(step))
        assert all(torch.equal(a[name], b[name]) for name in a)


def test_steps_follow_each_other_through_the_rows() -> None:
    batches = step_batches(2)
    tokens = [int(value) for step in range(5) for value in joined(batches(step))["tokens"][:, 0]]
    assert tokens == [int(batches.rows[number][0].tokens[0]) for number in range(5 * BATCH)]


def test_every_row_of_every_epoch_has_noise_of_its_own() -> None:
    batches = step_batches(1)
    draws = [tuple(batches.noise(number).integers(2**32, size=4)) for number in range(100)]
    assert len(set(draws)) == 100
    # And none of them is a source of the row order, which numpy pads with zeros: [seed, epoch, 0, 0].
    orders = [np.random.Generator(np.random.Philox(np.random.SeedSequence([4, epoch]))) for epoch in range(100)]
    assert not {tuple(order.integers(2**32, size=4)) for order in orders} & set(draws)


def test_short_examples_are_padded_and_padding_is_not_scored() -> None:
    examples = [
        [
            Example({"tokens": np.array([5, 6])}, {"words": np.array([6, IGNORE])}, {"tokens": np.array([2])}),
            Example({"tokens": np.array([7])}, {"words": np.array([8])}, {"tokens": np.array([3, 4])}),
        ],
        [Example({"tokens": np.array([9])}, {"words": np.array([3])}, {"tokens": np.array([1])})],
    ]
    batch = collate(examples, widths=Widths(4, 3))
    assert batch.inputs["tokens"].tolist() == [[5, 6, 7, 0], [9, 0, 0, 0]]
    assert batch.inputs["segments"].tolist() == [[0, 0, 1, PADDING], [0, PADDING, PADDING, PADDING]]
    assert batch.source["tokens"].tolist() == [[2, 3, 4], [1, 0, 0]]
    assert batch.source["segments"].tolist() == [[0, 1, 1], [0, PADDING, PADDING]]
    assert batch.targets["words"].tolist() == [[6, IGNORE, 8, IGNORE], [3, IGNORE, IGNORE, IGNORE]]
    assert (batch.counts, batch.tokens) == ({"words": 3}, 8)
    first, second = batch.halves()
    assert torch.equal(torch.cat([first.source["tokens"], second.source["tokens"]]), batch.source["tokens"])
    assert (first.counts, second.counts) == ({"words": 2}, {"words": 1})


@pytest.mark.parametrize("targets", [1, 3, 10, 11])
def test_a_corpus_smaller_than_a_step_is_seen_several_times(targets: int) -> None:
    batch = step_batches(BATCH, targets=targets)(0)[0]
    assert batch.targets["words"].shape == (BATCH, 10)
    assert batch.inputs["tokens"].max() < targets

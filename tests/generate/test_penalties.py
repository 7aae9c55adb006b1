"""Penalties against transformers' processors, and against OpenAI's definition in float64 numpy."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers.generation import logits_process as stock

from danlu.generate.penalties import History, NGrams, forbid
from danlu.generate.sampling import Sampling

VOCAB = 12
rows = st.lists(st.lists(st.integers(0, VOCAB - 1), min_size=9, max_size=9), min_size=1, max_size=4)
"""Rows of few different tokens, so that n-grams come again."""


def logits(seed: int, count: int) -> Tensor:
    return torch.randn(count, VOCAB, generator=torch.Generator().manual_seed(seed)) * 3


def history(tokens: list[list[int]], settings: Sampling, *, prompt: int) -> History:
    """As it is after a prompt of so many tokens and an answer that is the rest."""
    made = History([row[:prompt] for row in tokens], settings, vocab_size=VOCAB)
    for place in range(prompt, len(tokens[0])):
        made.take([row[place] for row in tokens])
    return made


@given(rows, st.integers(0, 9), st.floats(0.2, 5), st.none() | st.integers(1, 4), st.integers(0, 2**32))
def test_repetition_and_ngrams_equal_those_of_transformers(
    tokens: list[list[int]], prompt: int, penalty: float, size: int | None, seed: int
) -> None:
    x = logits(seed, len(tokens))
    ids = torch.tensor(tokens)
    expected = x.clone()
    if penalty != 1:
        expected = stock.RepetitionPenaltyLogitsProcessor(penalty)(ids, expected)
    if size is not None:
        expected = stock.NoRepeatNGramLogitsProcessor(size)(ids, expected)
    settings = Sampling(repetition_penalty=penalty, no_repeat_ngram=size)
    found = history(tokens, settings, prompt=prompt).penalise(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@given(rows, st.integers(0, 9), st.floats(-2, 2), st.floats(-2, 2), st.integers(0, 2**32))
def test_presence_and_frequency_count_the_answer_only(
    tokens: list[list[int]], prompt: int, presence: float, frequency: float, seed: int
) -> None:
    x = logits(seed, len(tokens))
    expected = x.double().numpy().copy()
    for place, row in enumerate(tokens):
        for token in range(VOCAB):
            count = row[prompt:].count(token)
            expected[place, token] -= count * frequency + (presence if count > 0 else 0.0)
    settings = Sampling(presence_penalty=presence, frequency_penalty=frequency)
    found = history(tokens, settings, prompt=prompt).penalise(x)
    np.testing.assert_allclose(found.double().numpy(), expected, rtol=1e-5, atol=1e-5)


def test_all_run_in_the_order_of_transformers() -> None:
    """Repetition before n-grams before the other two: the last one alone sees numbers that were multiplied."""
    tokens = [[1, 2, 3, 1, 2]]
    settings = Sampling(repetition_penalty=2.0, no_repeat_ngram=3, presence_penalty=0.5, frequency_penalty=0.25)
    x = torch.full((1, VOCAB), 4.0)
    found = history(tokens, settings, prompt=3).penalise(x)[0].tolist()
    assert found[1] == found[2] == 4.0 / 2 - 0.75
    assert found[3] == -np.inf  # it has followed 1 2 before
    assert found[4] == 4.0


@given(rows, st.sets(st.integers(0, 3), min_size=1), st.integers(0, 2**32))
def test_rows_that_stay_are_what_they_were(tokens: list[list[int]], wanted: set[int], seed: int) -> None:
    places = [place for place in sorted(wanted) if place < len(tokens)]
    settings = Sampling(repetition_penalty=1.3, no_repeat_ngram=2, presence_penalty=0.5, frequency_penalty=0.2)
    whole = history(tokens, settings, prompt=4)
    x = logits(seed, len(tokens))
    expected = whole.penalise(x)[places]
    kept = whole.copy()
    kept.keep(places)
    torch.testing.assert_close(kept.penalise(x[places]), expected, rtol=0, atol=0)
    if places:
        kept.take([0] * len(places))  # which the other does not see
    torch.testing.assert_close(whole.penalise(x)[places], expected, rtol=0, atol=0)


def test_a_row_without_any_token_left_keeps_all() -> None:
    x = logits(0, 2)
    banned = torch.ones(2, VOCAB, dtype=torch.bool)
    banned[1, 5] = False
    found = forbid(x, banned)
    assert torch.equal(found[0], x[0])
    assert found[1].isfinite().nonzero().flatten().tolist() == [5]
    assert NGrams([4, 4], 1).completing() == {4}

"""Sentences of a few tokens, parted: nothing but what the parts say tells which of them was the first."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from paired import (
    VOCABULARY,
    sentences_of,
    sides,
)

from danlu.corpus.batches import IGNORE
from danlu.corpus.marks import SENTENCE
from danlu.corpus.rows import Piece
from danlu.corpus.store import TokenStore
from danlu.objectives.pairs import SentenceOrder, Side, parted_alike, read


@pytest.mark.parametrize("length", [2, 3])
def test_two_or_three_tokens_have_no_order(length: int) -> None:
    """One is the shorter side, or begins a sentence, or ends one: what it stands for need not be known for that."""
    store = sentences_of(length)
    for seed in range(20):
        piece = Piece(store, 0, store.tokens)
        made = SentenceOrder().example(piece, vocabulary=VOCABULARY, noise=np.random.default_rng(seed))
        assert sides(made)[2] == IGNORE and (made.targets["words"] != IGNORE).any()


@pytest.mark.parametrize("lengths", [(2,), (3,), (4,), (5,), (3, 3), (1, 1, 2), (9, 1), (1, 9), (2, 2, 8)])
@pytest.mark.parametrize("offset", [0, 1, 2])
def test_no_lengths_of_parts_of_one_sentence_show_their_order(lengths: tuple[int, ...], offset: int) -> None:
    """Pieces of all lengths from here on: as often the first part is the longer one as the second."""
    store = sentences_of(*lengths)
    body = store.tokens[1:-1]
    for end in range(offset + 2, len(body) + 1):
        text = read(store, 1 + offset, 1 + end)
        assert store.marks is not None
        ends = bool(store.marks[1 + end] & SENTENCE)
        made = [parted_alike(text, ends=ends, noise=np.random.default_rng(seed)) for seed in range(60)]
        found = Counter((len(pair[0].tokens), len(pair[1].tokens)) for pair in made if pair is not None)
        whole = any(pair is not None and begins_in(store, pair[1]) for pair in made)
        assert whole or set(found) == {(second, first) for first, second in found}


def begins_in(store: TokenStore, side: Side) -> bool:
    assert store.marks is not None
    return bool(store.marks[side.start] & SENTENCE)

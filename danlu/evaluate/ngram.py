"""The classical baseline: an n-gram model with interpolated modified Kneser-Ney smoothing, over token ids.

The model is :mod:`danlu.text.ngram`; here it reads stores of tokens.

Axes: N tokens, D documents.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from danlu import log
from danlu.corpus.store import TokenStore
from danlu.errors import InputError
from danlu.recipe import Settings
from danlu.text.ngram import Floats, Ints, KneserNey, train

SCORED_AT_ONCE = 2**20
"""Targets that are scored at once, which bounds the memory and changes no figure."""


class NGram(Settings):
    """An n-gram model of the training part: what counting alone can foresee."""

    order: int = Field(default=5, ge=1, le=10)
    """Tokens of the longest n-gram, the foreseen one included."""
    max_tokens: int = Field(default=10_000_000, ge=1, lt=2**31)
    """Training tokens that are counted, of documents drawn at random where there are more; at 5 tokens
    an n-gram each takes up to some 250 bytes of memory."""

    def train(self, store: TokenStore, *, seed: int) -> KneserNey:
        """Count the n-grams of ``store``, or of as many of its documents, drawn by ``seed``, as ``max_tokens`` allows.

        Raises:
            InputError: the store holds no document.
        """
        if not store.documents:
            raise InputError("the n-gram baseline needs training documents, and there are none")
        tokens_N, depth_N = _drawn(store, self.max_tokens, seed)
        with log.progress("baseline", self.order, "orders") as progress:
            return train(tokens_N, depth_N, store.vocab_size, self.order, progress.update)


def score(model: KneserNey, store: TokenStore) -> tuple[Floats, Floats]:
    """Nats ``[D]`` that each document's targets cost, and how many of them ``[D]`` were the most likely token."""
    nats_D, right_D = np.zeros(len(store.documents)), np.zeros(len(store.documents))
    for first in range(0, store.targets, SCORED_AT_ONCE):
        end = min(first + SCORED_AT_ONCE, store.targets)
        begin = max(0, first - model.order + 1)  # what the first targets have before them
        document_N = np.searchsorted(store.starts, np.arange(begin, end), side="right") - 1
        depth_N = np.arange(begin, end) - store.starts[document_N]
        nats_N, right_N = model.nats(np.asarray(store.tokens[begin + 1 : end + 1]), depth_N)
        new = slice(first - begin, None)
        nats_D += np.bincount(document_N[new], weights=nats_N[new], minlength=len(nats_D))
        right_D += np.bincount(document_N[new], weights=right_N[new], minlength=len(right_D))
    return nats_D, right_D


def _drawn(store: TokenStore, max_tokens: int, seed: int) -> tuple[NDArray[Any], Ints]:
    """The targets of the drawn documents one behind the other, and the place of each in its document.

    Documents come whole but for the last one drawn, which ends where ``max_tokens`` is reached.
    """
    length_D = np.diff(store.starts)
    drawn = np.random.default_rng(seed).permutation(len(length_D))
    taken_D = np.zeros_like(length_D)
    before = np.cumsum(length_D[drawn]) - length_D[drawn]
    taken_D[drawn] = np.clip(max_tokens - before, 0, length_D[drawn])
    depth_N = np.arange(taken_D.sum()) - np.repeat(np.cumsum(taken_D) - taken_D, taken_D)
    return store.tokens[np.repeat(store.starts[:-1] + 1, taken_D) + depth_N], depth_N

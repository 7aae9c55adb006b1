"""An n-gram model with interpolated modified Kneser-Ney smoothing, over numbers of tokens or characters.

The probability of token w behind the context h, the k-1 tokens before it, is

    p(w | h) = max(a(hw) - D(a(hw)), 0) / sum_v a(hv)  +  kept(h) p(w | h without its first token)

and kept(h) is what the discounts took, so that it sums to one; below the single token stands the uniform
distribution over the vocabulary. ``a`` is how often hw occurs; below the highest order it is how many
different tokens stand before hw. The beginning of a document is a symbol of its own with nothing before it,
and n-grams that begin there keep their plain count (Chen & Goodman 1999; Heafield et al. 2013).

An n-gram is known by its place in the sorted keys ``context * vocabulary + token`` of its order, where its
context is in turn known by its place one order below: one 64-bit number for any order and vocabulary.

Axes: N tokens, G different n-grams of one order, C contexts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
UNKNOWN = -1
"""Stands for an n-gram that did not occur in training."""
FALLBACK = (0.5, 1.0, 1.5)
"""Discounts where the counts of counts give none, as on characters or a handful of text: those of KenLM."""


@dataclass(frozen=True, slots=True)
class Level:
    """The n-grams of one order."""

    keys_G: Ints
    """``context * vocabulary + token``, ascending."""
    probabilities_G: Floats
    """Interpolated with all orders below."""
    kept_C: Floats
    """The share of each context that goes to the order below."""
    best_C: NDArray[np.uint32]
    """The most likely token of each context."""
    discounts: tuple[float, float, float]
    """Taken from n-grams that occur once, twice, more often."""


@dataclass(frozen=True, slots=True)
class KneserNey:
    """A trained n-gram model; ``tokens`` is how many it has seen."""

    levels: list[Level]
    vocab_size: int
    tokens: int

    @property
    def order(self) -> int:
        return len(self.levels)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of it as arrays, of which :meth:`of_arrays` makes the same model."""
        found: dict[str, NDArray[Any]] = {"sizes": np.array([self.vocab_size, self.tokens, self.order])}
        for order, level in enumerate(self.levels):
            for field in fields(Level):
                found[f"{field.name}.{order}"] = np.asarray(getattr(level, field.name))
        return found

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The model of which :meth:`arrays` were made; they may be mapped from a file."""
        vocab_size, tokens, orders = arrays["sizes"].tolist()
        levels = []
        for order in range(orders):
            keys_G, probabilities_G, kept_C, best_C, discounts = (
                arrays[f"{field.name}.{order}"] for field in fields(Level)
            )
            one, two, three = discounts.tolist()
            levels.append(Level(keys_G, probabilities_G, kept_C, best_C, (one, two, three)))
        return cls(levels, vocab_size, tokens)

    def nats(self, tokens_N: NDArray[Any], depth_N: Ints) -> tuple[Floats, NDArray[np.bool_]]:
        """What each token costs ``[N]``, and whether it was the most likely one ``[N]``.

        ``depth_N`` is the token's place in its document, 0 for the first one.
        """
        probability_N = np.full(len(tokens_N), 1 / self.vocab_size)
        best_N = np.zeros(len(tokens_N), dtype=np.int64)
        ids_N = np.zeros(len(tokens_N), dtype=np.int64)
        unigrams = len(self.levels[0].keys_G)
        for order, level in enumerate(self.levels, start=1):
            context_N = _contexts(depth_N, ids_N, order=order, beginning=unigrams)
            known = np.flatnonzero(context_N != UNKNOWN)
            context = context_N[known]
            keys = context * self.vocab_size + tokens_N[known]
            place = np.minimum(np.searchsorted(level.keys_G, keys), len(level.keys_G) - 1)
            found = level.keys_G[place] == keys
            probability_N[known] *= level.kept_C[context]
            probability_N[known[found]] = level.probabilities_G[place[found]]
            best_N[known] = level.best_C[context]
            ids_N = np.full(len(tokens_N), UNKNOWN)
            ids_N[known[found]] = place[found]
        return -np.log(probability_N), best_N == tokens_N


def train(
    tokens_N: NDArray[Any],
    depth_N: Ints,
    vocab_size: int,
    order: int,
    progress: Callable[[int], None] = lambda order: None,
) -> KneserNey:
    """Count the n-grams of ``tokens_N`` up to ``order`` and smooth them.

    Args:
        depth_N: each token's place in its document, 0 for the first one.
        progress: is told each order that is counted.
    """
    counted: list[Counted] = []
    ids_N = np.zeros(len(tokens_N), dtype=np.int32)
    for length in range(1, order + 1):
        now, ids_N = _count(tokens_N, depth_N, ids_N, counted, vocab_size)
        if not len(now.keys_G):  # no document is so long
            break
        counted.append(now)
        progress(length)
    return KneserNey(_smoothed(counted, vocab_size), vocab_size, len(tokens_N))


@dataclass(frozen=True, slots=True)
class Counted:
    """The n-grams of one order before smoothing."""

    keys_G: Ints
    shorter_G: NDArray[np.int32]
    """The n-gram without its first token, one order below."""
    counts_G: NDArray[np.int32]
    beginnings_G: NDArray[np.int32]
    """How often it stands at the beginning of a document."""


def _contexts(depth_N: Ints, ids_N: NDArray[Any], *, order: int, beginning: int) -> Ints:
    """The context of each token, ``ids_N`` being the n-grams of one order less that end at each token.

    The context of a single token is empty, the only one of its order: 0. That of a document's first token is the
    document's beginning, which has the number behind the last unigram.
    """
    if order == 1:
        return np.zeros(len(depth_N), dtype=np.int64)
    context_N = np.full(len(depth_N), UNKNOWN)
    context_N[1:] = ids_N[:-1]
    context_N[depth_N < order - 2] = UNKNOWN
    if order == 2:
        context_N[depth_N == 0] = beginning
    return context_N


def _count(
    tokens_N: NDArray[Any], depth_N: Ints, ids_N: NDArray[np.int32], below: list[Counted], vocab_size: int
) -> tuple[Counted, NDArray[np.int32]]:
    """The n-grams of the order above ``below``, and which of them ends at each token (``UNKNOWN``: none so long)."""
    order = len(below) + 1
    context_N = _contexts(depth_N, ids_N, order=order, beginning=len(below[0].keys_G) if below else 0)
    ends = np.flatnonzero(context_N != UNKNOWN)
    keys = context_N[ends] * vocab_size + tokens_N[ends]
    del context_N
    ascending = np.argsort(keys)
    keys, ends = keys[ascending], ends[ascending]
    del ascending
    new = np.ones(len(keys), dtype=bool)
    new[1:] = keys[1:] != keys[:-1]
    first = np.flatnonzero(new)
    longer_ids_N = np.full(len(tokens_N), UNKNOWN, dtype=np.int32)
    longer_ids_N[ends] = np.cumsum(new, dtype=np.int32) - 1
    counted = Counted(
        keys_G=keys[first],
        shorter_G=ids_N[ends[first]] if below else np.zeros(len(first), dtype=np.int32),
        counts_G=np.diff(first, append=len(keys)).astype(np.int32),
        beginnings_G=np.bincount(longer_ids_N[depth_N == order - 2], minlength=len(first)).astype(np.int32),
    )
    return counted, longer_ids_N


def _smoothed(counted: list[Counted], vocab_size: int) -> list[Level]:
    """The levels, from single tokens upwards."""
    levels: list[Level] = []
    lower_G = highest_C = np.array([1 / vocab_size])
    best_C = np.zeros(1, dtype=np.uint32)
    shorter_C = np.zeros(1, dtype=np.int32)  # the context of each context without its first token
    for order, now in enumerate(counted, start=1):
        counts_G: NDArray[Any] = now.counts_G
        if order < len(counted):
            counts_G = np.bincount(counted[order].shorter_G, minlength=len(now.keys_G)) + now.beginnings_G
        discounts = _discounts(counts_G)
        taken_G = np.array(discounts)[np.minimum(counts_G, 3) - 1]
        context_G = now.keys_G // vocab_size
        total_C = np.bincount(context_G, weights=counts_G, minlength=len(shorter_C))
        taken_C = np.bincount(context_G, weights=taken_G, minlength=len(shorter_C))
        kept_C = np.divide(taken_C, total_C, out=np.ones(len(total_C)), where=total_C > 0)
        lower_G = (counts_G - taken_G) / total_C[context_G] + kept_C[context_G] * lower_G[now.shorter_G]
        best_C, highest_C = best_C[shorter_C], kept_C * highest_C[shorter_C]
        _better(now.keys_G, lower_G, best_C, highest_C, vocab_size)
        levels.append(Level(now.keys_G, lower_G, kept_C, best_C, discounts))
        shorter_C = now.shorter_G if order > 1 else np.zeros(len(now.keys_G) + 1, dtype=np.int32)
    return levels


def _better(
    keys_G: Ints, probabilities_G: Floats, best_C: NDArray[np.uint32], highest_C: Floats, vocab_size: int
) -> None:
    """Where one of a context's own n-grams beats what the order below makes most likely, put it in its place.

    No other token can: those that did not occur behind the context keep the order of the level below.
    """
    context_G = keys_G // vocab_size
    first = np.flatnonzero(np.diff(context_G, prepend=-1))
    highest = np.maximum.reduceat(probabilities_G, first)
    is_highest_G = probabilities_G == np.repeat(highest, np.diff(first, append=len(keys_G)))
    place = np.minimum.reduceat(np.where(is_highest_G, np.arange(len(keys_G)), len(keys_G)), first)
    context = context_G[first]
    better = highest >= highest_C[context]
    best_C[context[better]] = keys_G[place[better]] % vocab_size
    highest_C[context[better]] = highest[better]


def _discounts(counts_G: Ints) -> tuple[float, float, float]:
    """D1, D2 and D3+ from how many n-grams occur once to four times (Chen & Goodman 1999, equation 26).

    A discount of 0 would leave nothing to the order below, and its tokens without a chance.
    """
    n = np.bincount(np.minimum(counts_G, 5), minlength=6).tolist()
    if n[1] and n[2] and n[3]:
        share = n[1] / (n[1] + 2 * n[2])
        one, two, three = (i - (i + 1) * share * n[i + 1] / n[i] for i in (1, 2, 3))
        if min(one, two, three) > 0:
            return one, two, three
    return FALLBACK

"""Learning the merges of byte-pair encoding from counted words (Sennrich et al. 2016, arXiv:1508.07909).

All words lie one after the other in one array of symbols, and a pair knows the places at which it stands: about 15
bytes of memory for each symbol, where a trainer with a list of symbols for every word needs a hundred and more. A text
without spaces, whose words are whole clauses and nearly all different, costs no more than another.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from danlu.tokenizers.pair_index import PairIndex

BREAK = -1
"""Stands between words, before the first and behind the last."""


@dataclass(frozen=True, slots=True)
class CountedWords:
    """Words as symbols, and how often each of them occurs."""

    symbols: NDArray[np.int32]
    """``BREAK``, a word, ``BREAK``, a word … ``BREAK``; fewer than 2³² of them. Merging changes them."""
    bounds: NDArray[np.int64]
    """Places at which words of another weight begin, rising, from 0."""
    weights: NDArray[np.int64]
    """What each word from there on counts for; the same word may come several times."""


def learn_merges(
    words: CountedWords,
    spelled: list[str],
    *,
    vocab_size: int,
    min_frequency: int,
    join: Callable[[str, str], str] = operator.add,
    tell: Callable[[int], object] = lambda tokens: None,
) -> list[tuple[str, str]]:
    """The pairs that are merged, in order: each time the most frequent one, of those as frequent that of lowest ids.

    Args:
        words: are used up.
        spelled: the tokens so far, by id; new ones are put behind them.
        vocab_size: how many there may be at last.
        min_frequency: a pair that occurs less often is not merged.
        join: how the merged token is spelled. Where such a token is there already, as a special one may be, the pair
            is not merged.
        tell: is told how many tokens there are.
    """
    there = set(spelled)
    text = _Text(words, most_tokens=max(vocab_size, len(spelled)))
    pairs = PairIndex(text, first_tokens=len(spelled), min_frequency=min_frequency)
    merges: list[tuple[str, str]] = []
    while len(spelled) < vocab_size and (found := pairs.most_frequent()) is not None:
        left, right, places = found
        token = join(spelled[left], spelled[right])
        # One token is never spelled by two pairs: what is merged within it depends on nothing around it. But a
        # special token may be spelled so, which text must not become.
        if token not in there:
            merges.append((spelled[left], spelled[right]))
            there.add(token)
            spelled.append(token)
            pairs.add(len(spelled) - 1, text.merge(left, right, len(spelled) - 1, places))
            tell(len(spelled))
    return merges


class _Text:
    """The words while they are merged: a token stands at its first place and at its last, and between is nothing."""

    def __init__(self, words: CountedWords, *, most_tokens: int) -> None:
        self.symbols = words.symbols
        self.lengths = np.ones(most_tokens, dtype=np.int64)
        """Places that a token takes, by id."""
        self._bounds, self._weights = words.bounds, words.weights

    def weights(self, places: NDArray[np.unsignedinteger]) -> NDArray[np.int64] | None:
        """What each place counts for; None where all count for one."""
        if len(self._weights) == 1 and self._weights[0] == 1:
            return None
        return self._weights[np.searchsorted(self._bounds, places, side="right") - 1]

    def still(self, left: int, right: int, places: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Those of ``places`` at which the pair stands, and has not been merged with others."""
        # A token grows and never shrinks, so that what stands at its first place is no other token's end.
        found: NDArray[np.uint32] = places[self.symbols[places] == left]
        found = found[self.symbols[found + self.lengths[left]] == right]
        return found

    def merge(self, left: int, right: int, new: int, places: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Put ``new`` where the pair is, from the left in ``aaa``; where it now stands."""
        size, more = int(self.lengths[left]), int(self.lengths[right])
        if left == right:
            places = _apart(places, size)
        second = places + np.uint32(size)
        self.symbols[second - np.uint32(1)] = BREAK
        self.symbols[second] = BREAK
        self.symbols[places] = new
        self.symbols[second + np.uint32(more - 1)] = new
        self.lengths[new] = size + more
        return places

    def before(self, places: NDArray[np.uint32]) -> NDArray[np.int32]:
        """The tokens before tokens that begin there."""
        tokens: NDArray[np.int32] = self.symbols[places - np.uint32(1)]
        return tokens

    def behind(self, token: int, places: NDArray[np.uint32]) -> NDArray[np.int32]:
        """The tokens behind ``token`` where it begins there."""
        tokens: NDArray[np.int32] = self.symbols[places + np.uint32(self.lengths[token])]
        return tokens


def _apart(places: NDArray[np.uint32], size: int) -> NDArray[np.uint32]:
    """Of places in a row, ``size`` from each other, every second one."""
    begins = np.ones(len(places), dtype=bool)
    begins[1:] = np.diff(places) != size
    numbers = np.arange(len(places))
    chosen: NDArray[np.uint32] = places[(numbers - np.maximum.accumulate(np.where(begins, numbers, 0))) % 2 == 0]
    return chosen

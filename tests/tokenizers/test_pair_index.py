"""The index of pairs: counts are those of the text at every step, and places that are no more are forgotten."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from danlu.tokenizers import pair_index
from danlu.tokenizers.merges import CountedWords, _Text
from danlu.tokenizers.pair_index import PairIndex


def make(seed: int, *, tokens: int, size: int) -> _Text:
    """Random words of random weights."""
    noise = np.random.default_rng(seed)
    symbols = noise.integers(-1, tokens, size=size, dtype=np.int32)
    symbols[0] = symbols[-1] = symbols[size // 2] = -1
    bounds, weights = np.array([0, size // 2], dtype=np.int64), np.array([1, 3], dtype=np.int64)
    return _Text(CountedWords(symbols, bounds, weights), most_tokens=tokens + 200)


def counts_of(text: _Text) -> Counter[tuple[int, int]]:
    """All pairs by walking from token to token."""
    counts, place, walked = Counter[tuple[int, int]](), 0, []
    while place < len(text.symbols):
        token = int(text.symbols[place])
        walked.append((token, place))
        place += int(text.lengths[token]) if token >= 0 else 1
    for (left, begin), (right, _) in pairwise(walked):
        if left >= 0 and right >= 0:
            counts[left, right] += 1 if begin < len(text.symbols) // 2 else 3
    return counts


@pytest.mark.parametrize("block", [16, 1 << 22])
def test_the_most_frequent_pair_is_that_of_the_text(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_index, "BLOCK", block)
    text = make(0, tokens=5, size=600)
    pairs = PairIndex(text, first_tokens=5, min_frequency=2)
    for new in range(5, 200):
        counts = counts_of(text)
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        found = pairs.most_frequent()
        if counts[best] < 2:
            assert found is None
            return
        assert found is not None
        assert found[:2] == best
        pairs.add(new, text.merge(*best, new, found[2]))
    raise AssertionError("the text has not been used up")


def test_places_that_are_no_more_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_index, "BLOCK", 256)
    text = make(1, tokens=4, size=20_000)
    pairs = PairIndex(text, first_tokens=4, min_frequency=2)
    at_first = held(pairs)
    for new in range(4, 150):
        found = pairs.most_frequent()
        assert found is not None
        pairs.add(new, text.merge(*found[:2], new, found[2]))
        assert held(pairs) <= pair_index.GROWTH * at_first + 256 + 2 * len(found[2])
    pairs._clear()
    alive = sum(count > 0 for count in counts_of(text).values())
    tokens = sum(counts_of(text).values())
    assert held(pairs) <= tokens < at_first
    assert sum(len(group.keys) for group in pairs._groups) <= alive


def held(pairs: PairIndex) -> int:
    return sum(len(group.places) for group in pairs._groups)

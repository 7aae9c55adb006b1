"""Words within an edit or two are found among all, and next to nothing else is looked at."""

from __future__ import annotations

import random
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.data import deletions
from danlu.data.deletions import rests_in_common
from danlu.data.misspelt import edits

TWICE = 6


def pairs(words: list[str], groups: list[str]) -> set[tuple[int, int]]:
    return {pair for found in rests_in_common(words, groups, twice=TWICE) for pair in combinations(found, 2)}


@given(st.lists(st.text("ab新", max_size=9), max_size=12), st.data())
def test_every_pair_is_found(words: list[str], data: st.DataObject) -> None:
    groups = data.draw(st.lists(st.sampled_from("xy"), min_size=len(words), max_size=len(words)))
    found = pairs(words, groups)
    for one, other in combinations(range(len(words)), 2):
        shorter = min(len(words[one]), len(words[other]))
        if groups[one] == groups[other] and shorter:
            most = 2 if shorter >= TWICE else min(1, shorter - 1)
            assert edits(words[one], words[other], 2) > most or (one, other) in found
        elif groups[one] != groups[other]:
            assert (one, other) not in found


def test_parts_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(0)
    words = ["".join(rng.choices("abcd", k=rng.randint(5, 9))) for _ in range(100)]
    whole = pairs(words, [""] * len(words))
    monkeypatch.setattr(deletions, "_ROWS", 50)
    assert pairs(words, [""] * len(words)) == whole


def test_few_pairs_of_many_words_are_looked_at() -> None:
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(8, 12))) for _ in range(3000)]
    planted = [f"{word[:3]}{word[4:]}" for word in words[:50]]
    numbered = [f"class {number}" for number in range(1000)]  # which their groups keep apart
    found = pairs([*words, *planted, *numbered], [*[""] * 3050, *map(str, range(1000))])
    assert {(place, 3000 + place) for place in range(50)} <= found
    assert len(found) < 100

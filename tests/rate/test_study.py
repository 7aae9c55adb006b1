"""Sides are drawn evenly and stay; items are handed out evenly, to each rater once."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.errors import InputError
from danlu.rate.answers import Material
from danlu.rate.study import choose, is_swapped, order_of, plan


def material(prompts: int, models: int) -> Material:
    names = tuple(f"m{number}" for number in range(models))
    texts = tuple(f"p{number}" for number in range(prompts))
    return Material(names, texts, tuple(names for _ in texts))


@given(prompts=st.integers(1, 30), models=st.integers(2, 4), seed=st.integers(0, 99), rater=st.integers(1, 9))
def test_each_model_stands_on_either_side_equally_often(prompts: int, models: int, seed: int, rater: int) -> None:
    _, items = plan(material(prompts, models), None, raters=3, seed=seed)
    assert len({(item.prompt, item.first, item.second) for item in items}) == len(items)
    left = Counter((item.first, item.second) for item in items if is_swapped(item, rater))
    assert len(items) == prompts * models * (models - 1) // 2
    for pair in {(item.first, item.second) for item in items}:
        assert abs(2 * left[pair] - prompts) <= 1
    assert all(is_swapped(item, rater) != is_swapped(item, rater + 1) for item in items)


def test_the_seed_decides_the_sides_and_the_order() -> None:
    sides = [[item.flipped for item in plan(material(20, 2), None, raters=3, seed=seed)[1]] for seed in (1, 1, 2)]
    assert sides[0] == sides[1] != sides[2]
    assert order_of(1, items=20, seed=1) == order_of(1, items=20, seed=1)
    assert order_of(1, items=20, seed=1) != order_of(2, items=20, seed=1) != order_of(2, items=20, seed=2)


@given(
    items=st.integers(1, 12), raters=st.integers(1, 6), most=st.integers(1, 4),
    turns=st.lists(st.integers(0, 5), max_size=80), seed=st.integers(0, 9),
)  # fmt: skip
def test_items_are_handed_out_evenly(items: int, raters: int, most: int, turns: list[int], seed: int) -> None:
    """Raters come in any order and stop anywhere; those who stay then fill what is left."""
    times = [0] * items
    mine: list[set[int]] = [set() for _ in range(raters)]

    def turn(rater: int) -> bool:
        item = choose(times, mine[rater], order_of(rater, items=items, seed=seed), most=most)
        open_to_them = [times[other] for other in range(items) if other not in mine[rater] and times[other] < most]
        if item is None:
            assert open_to_them == []
            return False
        assert item not in mine[rater]
        assert times[item] == min(open_to_them)
        times[item] += 1
        mine[rater].add(item)
        return True

    for rater in turns:
        turn(rater % raters)
    rest = list(range(raters))
    random.Random(seed).shuffle(rest)
    while any(turn(rater) for rater in rest):
        pass
    assert times == [min(most, raters)] * items


def test_nothing_to_compare_and_too_few_raters() -> None:
    with pytest.raises(InputError, match="nothing to be compared with"):
        plan(material(3, 1), None, raters=3, seed=1)
    with pytest.raises(InputError, match="--raters must be at least 1; got 0"):
        plan(material(3, 2), None, raters=0, seed=1)

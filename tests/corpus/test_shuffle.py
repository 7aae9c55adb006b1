"""The permutation without memory: one to one at every size, and as even as one that is drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from danlu.corpus.mixture import seed_of
from danlu.corpus.shuffle import GOLDEN, ROUNDS, Permutation, _mixed, dealt, shuffled

SIZES = [*range(1, 40), 63, 64, 65, 97, 127, 128, 1009, 1024, 4093, 4096, 4097, 10_007]
LEAST = 1e-4
"""A p-value below this is no accident; with fixed seeds it comes out the same every time."""


@pytest.mark.parametrize("count", SIZES)
def test_every_number_is_met_once(count: int) -> None:
    for epoch in range(3):
        permutation = shuffled(count, 5, epoch)
        assert sorted(permutation[number] for number in range(count)) == list(range(count))


@settings(max_examples=30)
@given(
    st.integers(1, 3000), st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=8).filter(lambda k: len(k) % 2 == 0)
)
def test_so_it_is_with_any_keys(count: int, keys: list[int]) -> None:
    permutation = Permutation(count, tuple(keys))
    assert {permutation[number] for number in range(count)} == set(range(count))


def test_any_place_of_a_large_one_is_computed_alone() -> None:
    count = 10**12 + 39
    permutation = shuffled(count, 1, 2, 3)
    found = [permutation[number] for number in (0, 1, count // 2, count - 1)]
    assert len(set(found)) == 4 and all(0 <= each < count for each in found)
    assert [shuffled(count, 1, 2, 3)[number] for number in (0, count - 1)] == [found[0], found[3]]
    for outside in (-1, count):
        with pytest.raises(IndexError):
            permutation[outside]


@pytest.mark.parametrize("count", [2, 3, 4])
def test_small_ones_have_every_order_equally_often(count: int) -> None:
    tallies: dict[tuple[int, ...], int] = {}
    for seed in range(4800):
        order = tuple(shuffled(count, seed, 0)[number] for number in range(count))
        tallies[order] = tallies.get(order, 0) + 1
    assert len(tallies) == np.prod(range(1, count + 1))
    assert stats.chisquare(list(tallies.values())).pvalue > LEAST


@pytest.mark.parametrize("count", [5, 12, 17])
def test_each_number_goes_everywhere_equally_often(count: int) -> None:
    tallies = np.zeros((count, count), dtype=np.int64)
    for seed in range(2000):
        for number in range(count):
            tallies[number, shuffled(count, seed, 1)[number]] += 1
    assert all(stats.chisquare(row).pvalue > LEAST for row in tallies)


@pytest.mark.parametrize("count", [3, 5, 7, 12, 30])
def test_pairs_go_everywhere_equally_often(count: int) -> None:
    """Of 100,000 permutations: where the first two numbers go, by chi-square within 5 standard deviations."""
    many = 100_000
    first, second = (dealt(count, many, turn, 5, 9) for turn in (0, 1))
    found = np.bincount(first * count + second, minlength=count**2).reshape(count, count)
    assert not found.diagonal().any()
    apart, expected = ~np.eye(count, dtype=bool), many / (count * (count - 1))
    freedom = count * (count - 1) - 1
    assert abs(((found[apart] - expected) ** 2 / expected).sum() - freedom) < 5 * (2 * freedom) ** 0.5


def test_neighbours_do_not_stay_neighbours() -> None:
    """Of a drawn permutation the steps from one number to the next are spread evenly around the ring."""
    count = 20_000
    order = np.array([shuffled(count, 3, 0)[number] for number in range(count)])
    steps = np.diff(order) % count
    assert stats.chisquare(np.histogram(steps, bins=50, range=(0, count))[0]).pvalue > LEAST
    assert abs(stats.spearmanr(order, np.arange(count)).statistic) < 4 / np.sqrt(count)


def test_epochs_and_seeds_have_nothing_to_do_with_each_other() -> None:
    count = 5000
    orders = [np.array([shuffled(count, *source)[n] for n in range(count)]) for source in ((3, 0), (3, 1), (4, 0))]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert abs(stats.spearmanr(orders[one], orders[other]).statistic) < 4 / np.sqrt(count)
        assert (orders[one] == orders[other]).sum() < 8  # one on average, as of any two
        steps = (orders[one] - orders[other]) % count
        assert stats.chisquare(np.histogram(steps, bins=25, range=(0, count))[0]).pvalue > LEAST


@pytest.mark.parametrize("count", [2, 3, 6, 22])
def test_over_epochs_of_one_training_each_row_comes_everywhere_whatever_the_epoch_before_and_other_tasks(
    count: int,
) -> None:
    """What a small fine-tuning sees: the same seed in all epochs, and tasks whose seeds come from one."""
    epochs, first, second = 4000, seed_of("first", 3), seed_of("second", 3)
    mine, theirs = (
        np.array([[shuffled(count, seed, epoch, 3)[place] for place in (0, count - 1)] for epoch in range(epochs)])
        for seed in (first, second)
    )
    for place in (0, 1):
        assert stats.chisquare(np.bincount(mine[:, place], minlength=count)).pvalue > LEAST
        for one, other in ((mine[1:, place], mine[:-1, place]), (mine[:, place], theirs[:, place])):
            both = np.bincount(one * count + other, minlength=count**2)
            assert stats.chisquare(both).pvalue > LEAST


@settings(max_examples=40)
@given(st.integers(1, 300), st.integers(0, 12), st.integers(0, 2**32 - 1), st.data())
def test_layers_are_permutations_with_keys_of_their_own(
    count: int, layers: int, seed: int, data: st.DataObject
) -> None:
    keys = [int(key) for key in np.random.SeedSequence([seed, 5]).generate_state(ROUNDS, np.uint64)]
    turn = data.draw(st.integers(0, count - 1))
    wanted = [Permutation(count, tuple(_mixed(key + layer * GOLDEN) for key in keys))[turn] for layer in range(layers)]
    assert dealt(count, layers, turn, seed, 5).tolist() == wanted


@pytest.mark.parametrize("count", [2, 3, 7])
def test_layers_have_nothing_to_do_with_each_other(count: int) -> None:
    found = np.concatenate([dealt(count, 4000, turn, 3, 0) for turn in range(count)]).reshape(count, 4000)
    assert (np.sort(found, axis=0) == np.arange(count)[:, None]).all()
    for turn in range(count):
        assert stats.chisquare(np.bincount(found[turn], minlength=count)).pvalue > LEAST
        both = np.bincount(found[turn, 1:] * count + found[turn, :-1], minlength=count**2)
        assert stats.chisquare(both).pvalue > LEAST

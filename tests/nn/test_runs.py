"""Documents of a row in runs of like length: all of it, in its order, with little padding."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from danlu.nn.runs import WASTE, Pair, Run, find_pairs, find_runs


def numbers_of(lengths: tuple[int, ...]) -> torch.Tensor:
    """``[1, N]`` document numbers."""
    return torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))[None]


@given(st.lists(st.integers(1, 6), min_size=1, max_size=30), st.sampled_from([0, 200]))
def test_runs_are_the_row(lengths: list[int], few: int) -> None:
    numbers = numbers_of(tuple(lengths))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("danlu.nn.runs.FEW", few)
        runs = find_runs(numbers)
    assert runs is not None
    assert [length for run in runs for length in run.lengths] == lengths
    assert [run.start for run in runs] == [0, *(run.end for run in runs[:-1])]
    for run in runs:
        scores = len(run.lengths) * run.longest**2
        assert scores <= few or scores - sum(length**2 for length in run.lengths) <= WASTE * scores
    assert few or all(one.lengths[0] != next_.lengths[0] for one, next_ in pairwise(runs) if one.alike)


def test_many_of_one_length_are_a_run_of_their_own() -> None:
    """They need no padding; a few of it are put to their neighbours, behind as well as before."""
    numbers = numbers_of((21, 20, *[19] * 20, 18, *[17] * 20, *[16] * 3))
    runs = find_runs(numbers)
    assert runs is not None
    assert [run.lengths for run in runs] == [(21, 20), (19,) * 20, (18,), (17,) * 20, (16,) * 3]
    assert [run.start for run in runs] == [0, 41, 421, 439, 779]


def test_a_number_that_comes_again_makes_no_run() -> None:
    assert find_runs(torch.tensor([[0, 0, 1, 1, 2, 3, 4]])) == (Run(0, (2, 2, 1, 1, 1)),)
    assert find_runs(torch.tensor([[0, 0, 1, 1, 2, 3, 0]])) is None


def test_both_sides_have_the_same_documents() -> None:
    queries, keys = torch.tensor([[3, 3, 1, 2, 2, 2]]), torch.tensor([[3, 1, 1, 1, 1, 2]])
    assert find_pairs(queries, keys) == (Pair(Run(0, (2, 1, 3)), Run(0, (1, 4, 1))),)
    assert find_pairs(queries, torch.tensor([[3, 2, 2, 2, 2, 1]])) is None  # another order
    assert find_pairs(queries, torch.tensor([[3, 1, 1, 1, 1, 1]])) is None  # one has no keys

"""Bins of lengths: each length is in the one bin that holds it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from danlu.clean.lengths import EDGES, bin_end, bins_of


@given(st.lists(st.integers(0, 10**11), max_size=30))
def test_each_length_is_in_the_bin_that_holds_it(lengths: list[int]) -> None:
    found = bins_of(np.array(lengths, dtype=np.int64))
    last = int(EDGES[-1])
    expected: dict[int, int] = {}
    for length in lengths:
        (start,) = [int(edge) for edge in EDGES if edge <= length and (length < bin_end(int(edge)) or edge == last)]
        expected[start] = expected.get(start, 0) + 1
    assert found == expected


def test_there_are_ten_bins_for_a_power_of_ten_about_as_wide_as_each_other() -> None:
    edges = EDGES[EDGES >= 100]
    assert np.isin([100, 1000, 10**9], edges).all() and ((edges >= 1000) & (edges < 10_000)).sum() == 10
    assert np.abs(np.diff(np.log10(edges)) - 0.1).max() < 0.0073  # of ISO 3 itself

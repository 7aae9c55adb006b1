"""Documents that others repeat are counted once each, whatever the order in which they are told."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.clean.groups import Groups

Told = list[tuple[str, list[int]]]


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(["exact", "near"]), st.lists(st.integers(0, 9), max_size=5)), max_size=6))
def test_each_is_counted_once(told: Told) -> None:
    with TemporaryDirectory() as folder:
        groups = Groups(Path(folder), 10)
        for reason, firsts in told:
            groups.add(reason, np.array(firsts, dtype=np.int64))
        expected: dict[str, set[int]] = {}
        for reason, firsts in told:
            expected.setdefault(reason, set()).update(firsts)
        assert groups.counts() == {reason: len(firsts) for reason, firsts in expected.items()}

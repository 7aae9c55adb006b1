"""Counts notice what is lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from danlu.clean.counts import Counts, Size


def whole() -> Counts:
    counts = Counts(records=3, documents_in=3)
    sizes = [("language", "S8"), *((name, np.int64) for name in ("characters", "bytes", "characters_in", "bytes_in"))]
    counts.keep(np.array([(b"en", 90, 90, 100, 100)], dtype=sizes))
    counts.drop("too short", "zh", Size(4, 12))
    counts.quarantined["binary"] += 1
    return counts


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("documents_in", "in, and what became of it: 4 and 3; of 4 records 1 kept, 1 dropped"),
        ("kept", "in, and what became of it: 3 and 4"),
        ("characters_in", "characters by language, and all"),
    ],
)
def test_a_number_too_many_is_noticed(name: str, told: str) -> None:
    counts = whole()
    counts.check()
    setattr(counts, name, getattr(counts, name) + 1)
    with pytest.raises(AssertionError, match=f"^clean lost count: {told}"):
        counts.check()


@pytest.mark.parametrize("name", ["dropped", "quarantined", "language_documents_in", "lengths_kept", "lengths_dropped"])
def test_a_reason_or_a_length_too_many_is_noticed(name: str) -> None:
    counts = whole()
    counter: Any = getattr(counts, name)
    counter[next(iter(counter))] += 1
    with pytest.raises(AssertionError, match=r"^clean lost count: "):
        counts.check()

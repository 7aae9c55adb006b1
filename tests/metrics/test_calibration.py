"""Calibration error against its definition written out bin by bin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.errors import InputError
from danlu.metrics.calibration import Calibration
from danlu.metrics.tally import overall

CONFIDENCES = st.one_of(st.sampled_from([0.0, 0.1, 0.2, 0.5, 1.0]), st.floats(0, 1))


def equal_width(items: list[tuple[float, bool]], bins: int) -> float:
    total = 0.0
    for place in range(bins):
        inside = [
            (confidence, right)
            for confidence, right in items
            if place / bins < confidence <= (place + 1) / bins or (place == 0 and confidence == 0)
        ]
        if inside:
            gap = np.mean([confidence for confidence, _ in inside]) - np.mean([right for _, right in inside])
            total += len(inside) / len(items) * abs(gap)
    return float(total)


def equal_mass(items: list[tuple[float, bool]], bins: int) -> float:
    total, rest = 0.0, sorted(items)
    for place in range(bins):
        size = len(items) // bins + (place < len(items) % bins)
        inside, rest = rest[:size], rest[size:]
        if inside:
            gap = np.mean([confidence for confidence, _ in inside]) - np.mean([right for _, right in inside])
            total += size / len(items) * abs(gap)
    return float(total)


@given(st.lists(st.tuples(CONFIDENCES, st.booleans()), min_size=1, max_size=40), st.sampled_from([1, 5, 10, 15]))
def test_equal_to_the_definition(items: list[tuple[float, bool]], bins: int) -> None:
    predicted = [("a" if right else "b", confidence) for confidence, right in items]
    figures = overall(Calibration(bins=bins).tally(["a"] * len(items), predicted))
    assert figures["calibration_error"] == pytest.approx(equal_width(items, bins))
    assert figures["calibration_error.equal_mass"] == pytest.approx(equal_mass(items, bins))
    assert figures["accuracy"] == pytest.approx(np.mean([right for _, right in items]))
    assert figures["confidence"] == pytest.approx(np.mean([confidence for confidence, _ in items]))


@given(st.lists(st.tuples(CONFIDENCES, st.booleans()), min_size=1, max_size=40), st.sampled_from([1, 5, 15]))
def test_the_error_is_the_mean_gap_of_the_bins(items: list[tuple[float, bool]], bins: int) -> None:
    predicted = [("a" if right else "b", confidence) for confidence, right in items]
    found = Calibration(bins=bins).by_bin(["a"] * len(items), predicted)
    assert sum(each.items for each in found) == len(items) and all(each.items for each in found)
    gap = sum(each.items * abs(each.confidence - each.accuracy) for each in found) / len(items)
    assert gap == pytest.approx(equal_width(items, bins))
    for each in found:
        inside = [c for c, _ in items if each.low < c <= each.high or each.low == c == 0]
        assert len(inside) == each.items and np.mean(inside) == pytest.approx(each.confidence)


def test_an_item_counted_twice_is_two_items() -> None:
    generator = np.random.default_rng(5)
    items = [(float(c), bool(generator.random() < c)) for c in generator.random(50)]
    times = generator.integers(3, size=50)
    tally = Calibration(bins=7).tally(["a"] * 50, [("a" if right else "b", c) for c, right in items])
    figures = tally.figures(times[None].astype(float))
    written_out = [item for item, count in zip(items, times, strict=True) for _ in range(count)]
    assert figures["calibration_error"][0] == pytest.approx(equal_width(written_out, 7))
    assert figures["calibration_error.equal_mass"][0] == pytest.approx(equal_mass(written_out, 7))


def test_a_confidence_that_is_no_probability_is_named_with_its_item() -> None:
    for confidence in (1.2, -0.1, float("nan")):
        with pytest.raises(InputError, match=r"^item 2: the confidence must be from 0 to 1; got "):
            Calibration().tally(["a", "a"], [("a", 0.5), ("a", confidence)])

"""Learning curves: the fit against scipy's, and whether the interval of what twice the data brings holds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import least_squares

from danlu.metrics.power_law import fit, forecast

SIZES = [100, 250, 500, 1000]


def curve(sizes: Sequence[float], floor: float, part: float, exponent: float) -> list[float]:
    """The error at each size, of which ``part`` is left at 1,000 examples."""
    return [floor + part * (each / 1000) ** -exponent for each in sizes]


@given(st.floats(0, 0.3), st.floats(0.01, 0.3), st.floats(0.1, 2.0))
def test_the_curve_that_the_errors_lie_on_is_found(floor: float, part: float, exponent: float) -> None:
    found = fit(SIZES, curve(SIZES, floor, part, exponent))
    assert curve(SIZES, floor, part, exponent) == pytest.approx([found.error(each) for each in SIZES], abs=1e-4)
    (twice,) = curve([2000], floor, part, exponent)
    assert found.error(2000) == pytest.approx(twice, abs=2e-3)


@given(st.integers(0, 10**6), st.floats(0, 0.3), st.floats(0.01, 0.3), st.floats(0.1, 2.0))
def test_the_fit_is_as_good_as_that_of_scipy(seed: int, floor: float, part: float, exponent: float) -> None:
    sizes = np.repeat(SIZES, 3)
    errors = curve(sizes.tolist(), floor, part, exponent) + np.random.default_rng(seed).normal(0, 0.01, len(sizes))

    def left(at: Sequence[float]) -> float:
        return float(np.square(errors - curve(sizes.tolist(), *at)).sum())

    found = fit(sizes.tolist(), errors.tolist())
    begins = [(0.1, 0.1, 0.3), (0.0, 0.2, 1.0), (floor, part, exponent)]
    theirs = min(
        left(least_squares(
            lambda at: errors - curve(sizes.tolist(), *at), begin, bounds=([0, -np.inf, 0.02], [np.inf, np.inf, 3])
        ).x)
        for begin in begins
    )  # fmt: skip
    assert left((found.floor, found.part, found.exponent)) <= theirs * (1 + 1e-4) + 1e-9
    assert found.floor >= 0


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("law", [(0.05, 0.05, 0.5), (0.1, 0.0, 1.0), (0.0, 0.1, 0.3)])
def test_the_interval_has_what_twice_the_data_brings(law: tuple[float, float, float], seeds: int) -> None:
    """In about 95 of 100 curves; in 30 fewer than 25 would be seen once in thousands of tests."""
    sizes = SIZES * seeds
    (once, twice), inside = curve([1000, 2000], *law), 0
    for number in range(30):
        noise = np.random.default_rng(number).normal(0, 0.005, len(sizes))
        found = forecast(sizes, (curve(sizes, *law) + noise).tolist(), seed=number)
        assert found is not None and found.low <= found.gain <= found.high
        inside += found.low <= once - twice <= found.high
    assert inside >= 25


def test_more_trainings_and_less_noise_make_it_narrower() -> None:
    def width(seeds: int, noise: float) -> float:
        generator = np.random.default_rng(7)
        sizes = SIZES * seeds
        errors = curve(sizes, 0.05, 0.05, 0.5) + generator.normal(0, noise, len(sizes))
        found = forecast(sizes, errors.tolist(), seed=1)
        assert found is not None
        return found.high - found.low

    assert width(8, 0.003) < width(8, 0.02) and width(16, 0.02) < width(2, 0.02)


def test_what_other_examples_would_say_counts_too() -> None:
    """Errors that lie on a curve exactly say nothing of the examples that they were measured on."""
    errors = curve(SIZES, 0.05, 0.05, 0.5)
    generator = np.random.default_rng(3)
    apart, alike = (np.array(errors) + generator.normal(0, 0.02, (500, columns)) for columns in (4, 1))
    sure, unsure, shifted = (forecast(SIZES, errors, seed=1, resampled_BP=each) for each in (None, apart, alike))
    assert sure is not None and unsure is not None and shifted is not None
    assert sure.high - sure.low < 1e-3 < unsure.high - unsure.low
    assert shifted.high - shifted.low < (unsure.high - unsure.low) / 2


def test_too_few_trainings_tell_nothing() -> None:
    assert forecast([100, 200, 400], [0.3, 0.2, 0.15], seed=1) is None
    assert forecast([100, 100, 400, 400], [0.3, 0.2, 0.15, 0.1], seed=1) is None


def test_the_band_goes_from_the_fewest_to_twice_the_most() -> None:
    found = forecast(SIZES, [0.3, 0.21, 0.16, 0.12], seed=1)
    assert found is not None
    band = found.band
    assert band.examples[0] == pytest.approx(100) and band.examples[-1] == pytest.approx(2000)
    assert all(low <= expected <= high for low, expected, high in zip(band.low, band.expected, band.high, strict=True))
    assert band.expected[-1] == pytest.approx(found.law.error(1000) - found.gain)

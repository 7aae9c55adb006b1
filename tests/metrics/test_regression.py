"""Metrics of numbers against scipy and scikit-learn, and their edges."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from danlu.errors import InputError
from danlu.metrics.regression import Correlation, Regression
from danlu.metrics.tally import overall

NUMBERS = st.one_of(st.integers(-3, 3).map(float), st.floats(-100, 100).map(lambda value: round(value, 3)))


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=30))
def test_equal_to_scipy_with_ties_and_constants(pairs: list[tuple[float, float]]) -> None:
    gold, predicted = [one for one, _ in pairs], [other for _, other in pairs]
    figures = overall(Regression().tally(gold, predicted))
    assert figures["mean_squared_error"] == pytest.approx(metrics.mean_squared_error(gold, predicted))
    assert figures["root_mean_squared_error"] == pytest.approx(metrics.root_mean_squared_error(gold, predicted))
    assert figures["mean_absolute_error"] == pytest.approx(metrics.mean_absolute_error(gold, predicted))
    constant = len(set(gold)) == 1 or len(set(predicted)) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy's, of constants
        pearson, spearman = stats.pearsonr(gold, predicted)[0], stats.spearmanr(gold, predicted)[0]
    assert figures["pearson"] == pytest.approx(0 if constant else pearson, abs=1e-9)
    assert figures["spearman"] == pytest.approx(0 if constant else spearman, abs=1e-9)


def test_correlation_alone_is_the_same_and_says_nothing_of_errors() -> None:
    gold, predicted = [4.0, 1.0, 3.0, 3.5], [0.7, -0.2, 0.8, 0.1]
    figures = overall(Correlation().tally(gold, predicted))
    assert figures.keys() == {"pearson", "spearman"}
    assert figures["pearson"] == pytest.approx(stats.pearsonr(gold, predicted)[0])
    assert figures["spearman"] == pytest.approx(stats.spearmanr(gold, predicted)[0])
    with pytest.raises(InputError, match="must be a finite number"):
        Correlation().tally([1.0], ["x"])  # type: ignore[list-item]


def test_an_item_counted_twice_is_two_items() -> None:
    """What the bootstrap relies on: ranks and means of a choice of items are those of the items written out."""
    generator = np.random.default_rng(3)
    gold, predicted = generator.integers(5, size=40).astype(float), generator.integers(5, size=40).astype(float)
    times = generator.integers(3, size=40)
    figures = Regression().tally(gold.tolist(), predicted.tolist()).figures(times[None].astype(float))
    written_out = np.repeat(gold, times), np.repeat(predicted, times)
    assert figures["pearson"][0] == pytest.approx(stats.pearsonr(*written_out)[0])
    assert figures["spearman"][0] == pytest.approx(stats.spearmanr(*written_out)[0])


def test_large_numbers_that_differ_little_are_no_constant() -> None:
    gold, predicted = [1e8, 1e8 + 1, 1e8 + 2, 1e8 + 4], [1e8, 1e8 + 2, 1e8 + 1, 1e8 + 4]
    figures = overall(Regression().tally(gold, predicted))
    assert figures["pearson"] == pytest.approx(stats.pearsonr(gold, predicted)[0])


@pytest.mark.parametrize("size", [1e-300, 1e-160, 1e160, 1e300])
def test_correlations_do_not_depend_on_the_unit(size: float) -> None:
    """Squares of such numbers are no floats."""
    gold, predicted = [1.0, 2.0, 4.0, 3.0], [1.5, 1.0, 4.0, 4.5]
    with np.errstate(over="ignore"):
        figures = overall(Regression().tally([size * each for each in gold], [size * each for each in predicted]))
    assert figures["pearson"] == pytest.approx(stats.pearsonr(gold, predicted)[0])
    assert figures["spearman"] == pytest.approx(stats.spearmanr(gold, predicted)[0])


def test_constants_that_no_binary_number_equals_have_no_correlation() -> None:
    figures = overall(Regression().tally([0.1] * 3, [0.1, 0.2, 0.3]))
    assert figures["pearson"] == figures["spearman"] == 0
    assert overall(Regression().tally([1.0], [2.0]))["pearson"] == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, "3"])
def test_what_is_no_finite_number_is_named_with_its_item(value: float) -> None:
    with pytest.raises(InputError, match=r"^item 2: the predicted value must be a finite number; got "):
        Regression().tally([1.0, 2.0], [1.0, value])

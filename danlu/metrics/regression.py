"""Metrics of numbers: mean squared and absolute error, Pearson's and Spearman's correlation.

Equal to scipy and scikit-learn; a correlation where one side is constant, which has none, is 0.

Axes: B choices of items, N items, U different values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from danlu.errors import InputError, shown
from danlu.metrics.tally import Named, Numbers, Tally, check_pairs, share
from danlu.recipe import Choice

CONSTANT = 1e-13
"""Share of the squares below which what is left of them around the mean is rounding."""


class Regression(Choice):
    """One number an item."""

    def tally(self, gold: Sequence[float], predicted: Sequence[float]) -> Tally:
        """Figures ``mean_squared_error``, ``root_mean_squared_error``, ``mean_absolute_error``, ``pearson``,
        ``spearman`` (equal numbers share their mean rank).

        Raises:
            InputError: there is no item, lengths differ, or an item is no finite number.
        """
        check_pairs(gold, predicted)
        gold_N, predicted_N = _numbers(gold, side="gold"), _numbers(predicted, side="predicted")
        error_N = predicted_N - gold_N

        def figures(times_BN: Numbers) -> Named:
            items_B = times_BN.sum(1)
            squared = times_BN @ error_N**2 / items_B
            return {
                "mean_squared_error": squared,
                "root_mean_squared_error": np.sqrt(squared),
                "mean_absolute_error": times_BN @ np.abs(error_N) / items_B,
                "pearson": correlation(gold_N[None], predicted_N[None], times_BN),
                "spearman": correlation(_ranks(gold_N, times_BN), _ranks(predicted_N, times_BN), times_BN),
            }

        return Tally(len(gold), figures)


class Correlation(Choice):
    """One number an item, which need not be of the size of the gold one: only how they go along counts."""

    def tally(self, gold: Sequence[float], predicted: Sequence[float]) -> Tally:
        """Figures ``pearson`` and ``spearman``.

        Raises:
            InputError: as :meth:`Regression.tally`.
        """
        whole = Regression().tally(gold, predicted)
        return Tally(whole.items, lambda times_BN: {
            name: values for name, values in whole.figures(times_BN).items() if name in ("pearson", "spearman")
        })  # fmt: skip


def correlation(first_BN: Numbers, second_BN: Numbers, times_BN: Numbers) -> Numbers:
    """Pearson's correlation ``[B]`` of two rows of numbers, each counted so many times; 0 where one is constant."""
    first_BN, squares_first = _around_mean(_of_size_one(first_BN), times_BN)
    second_BN, squares_second = _around_mean(_of_size_one(second_BN), times_BN)
    together = (times_BN * first_BN * second_BN).sum(1)
    return np.clip(share(together, np.sqrt(squares_first) * np.sqrt(squares_second)), -1, 1)


def _of_size_one(values_BN: Numbers) -> Numbers:
    """The numbers over a power of two, so that no square is too large or too small for a float; nothing is rounded."""
    scaled: Numbers = np.ldexp(values_BN, -int(np.frexp(np.abs(values_BN).max())[1]))
    return scaled


def _around_mean(values_BN: Numbers, times_BN: Numbers) -> tuple[Numbers, Numbers]:
    """The numbers less their mean, and the sum of their squares, 0 where that is rounding alone."""
    items_B1 = times_BN.sum(1, keepdims=True)
    means_B1 = (times_BN * values_BN).sum(1, keepdims=True) / items_B1
    left_BN = values_BN - means_B1
    squares_B = (times_BN * left_BN**2).sum(1)
    rounding_B = items_B1[:, 0] * (means_B1[:, 0] * CONSTANT) ** 2
    return left_BN, np.where(squares_B > rounding_B, squares_B, 0.0)


def _ranks(values_N: Numbers, times_BN: Numbers) -> Numbers:
    """The mean rank ``[B, N]`` that each number has among all, each counted so many times."""
    _, firsts_U, unique_N = np.unique(np.sort(values_N), return_index=True, return_inverse=True)
    order_N = np.argsort(values_N, kind="stable")
    counts_BU = np.add.reduceat(times_BN[:, order_N], firsts_U, axis=1)
    ranks_BU = np.cumsum(counts_BU, axis=1) - (counts_BU - 1) / 2
    ranks_BN = np.empty_like(times_BN)
    ranks_BN[:, order_N] = ranks_BU[:, unique_N.reshape(-1)]
    return ranks_BN


def _numbers(values: Sequence[float], *, side: str) -> Numbers:
    for number, value in enumerate(values, 1):
        if isinstance(value, bool | str) or not math.isfinite(value):
            raise InputError(f"item {number}: the {side} value must be a finite number; got {shown(repr(value))}")
    return np.array(values, dtype=np.float64)

"""The bootstrap against the textbook's standard error, and its edges."""

from __future__ import annotations

import numpy as np
import pytest

from danlu.metrics.bootstrap import ratio_interval


def test_interval_of_a_mean_is_the_normal_one() -> None:
    generator = np.random.default_rng(7)
    values = generator.normal(3.0, 0.5, size=4000)
    interval = ratio_interval(values, np.ones(4000), seed=1)
    assert interval is not None
    half = 1.96 * values.std() / np.sqrt(4000)
    assert interval == pytest.approx((values.mean() - half, values.mean() + half), abs=0.15 * half)


def test_documents_count_by_their_size() -> None:
    """One large document and many small ones: the ratio is that of the sums, not the mean of the ratios."""
    nats, tokens = np.array([1000.0, *[1.0] * 50]), np.array([1000.0, *[10.0] * 50])
    interval = ratio_interval(nats, tokens, seed=1)
    assert interval is not None
    assert interval[0] < nats.sum() / tokens.sum() < interval[1]
    assert np.mean(nats / tokens) < 0.2 < nats.sum() / tokens.sum()


def test_same_seed_same_interval() -> None:
    nats, tokens = np.arange(1.0, 30.0), np.full(29, 10.0)
    assert ratio_interval(nats, tokens, seed=3) == ratio_interval(nats, tokens, seed=3)
    assert ratio_interval(nats, tokens, seed=3) != ratio_interval(nats, tokens, seed=4)


def test_one_document_has_no_interval() -> None:
    assert ratio_interval(np.array([3.0]), np.array([2.0]), seed=1) is None

"""The noise scale, against gradients whose mean and covariance are known in closed form, and against numpy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from danlu.corpus.batches import Batch
from danlu.objectives.clm import CausalLM
from danlu.train.noise_scale import Norms, measure, noise_scale
from danlu.train.settings import Hardware
from danlu.train.setup import Training


class HalfSquares:
    """Linear regression, half the squared error: the gradient of a row is ``x (x·w - y)``."""

    def losses(self, model: Any, batch: Batch) -> dict[str, Tensor]:
        error = model(batch.inputs["x"])[:, 0] - batch.targets["y"]
        return {"y": 0.5 * (error**2).sum()}

    def weight(self, name: str) -> float:
        return 1.0


def linear(weights: np.ndarray[Any, Any]) -> Any:
    model = nn.Linear(len(weights), 1, bias=False).double()
    model.weight.data = torch.from_numpy(weights)[None]
    return model


def parts(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], size: int) -> list[Batch]:
    cuts = range(0, len(x), size)
    return [
        Batch({"x": torch.from_numpy(x[c : c + size])}, {"y": torch.from_numpy(y[c : c + size])}, {"y": n}, n)
        for c in cuts
        for n in [len(x[c : c + size])]
    ]


def norms(weights: np.ndarray[Any, Any], x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], size: int) -> Norms:
    model = linear(weights)
    found = measure(model, HalfSquares(), list(model.parameters()), parts(x, y, size))  # type: ignore[arg-type]
    assert model.weight.grad is None
    return found


def test_single_rows_give_the_sample_variance_of_numpy() -> None:
    random = np.random.default_rng(1)
    weights, x, y = random.normal(size=5), random.normal(size=(12, 5)), random.normal(size=12)
    gradients = x * (x @ weights - y)[:, None]
    found = norms(weights, x, y, 1)
    trace = gradients.var(axis=0, ddof=1).sum()
    assert found.trace == pytest.approx(trace, rel=1e-12)
    assert found.squared == pytest.approx((gradients.mean(axis=0) ** 2).sum() - trace / 12, rel=1e-9)


@pytest.mark.parametrize("size", [1, 4, 5])  # 5: parts of 5, 5 and 2 rows
def test_a_linear_model_has_the_noise_scale_of_its_closed_form(size: int) -> None:
    """With x ~ N(0, I) and y = x·w* + e: G = δ = w - w*, tr(Σ) = (d + 1) |δ|² + d Var(e)."""
    random, d, variance = np.random.default_rng(2), 6, 4.0
    truth, weights = random.normal(size=d), random.normal(size=d)
    squared = float(((weights - truth) ** 2).sum())
    blocks = []
    for _ in range(300):
        x = random.normal(size=(12, d))
        blocks.append(norms(weights, x, x @ truth + random.normal(size=12) * math.sqrt(variance), size))
    found = noise_scale(blocks)
    expected = (d + 1) + d * variance / squared
    assert found.low < expected < found.high
    assert found.rows == pytest.approx(expected, rel=0.15)
    for values, mean in (
        ([block.squared for block in blocks], squared),
        ([block.trace for block in blocks], (d + 1) * squared + d * variance),
    ):
        assert abs(np.mean(values) - mean) < 3.5 * np.std(values, ddof=1) / math.sqrt(len(values))
    assert noise_scale(blocks, unit=0.5).rows == pytest.approx(found.rows / 2)


def test_pure_noise_has_no_upper_end() -> None:
    random = np.random.default_rng(3)
    weights, blocks = np.zeros(40), []
    for _ in range(6):
        x = random.normal(size=(8, 40))
        blocks.append(norms(weights, x, random.normal(size=8), 1))
    found = noise_scale(blocks)
    assert math.isinf(found.high)
    assert 0 < found.low < found.rows


@settings(max_examples=50)
@given(st.floats(0.01, 100), st.floats(0.01, 100), st.integers(1, 8), st.integers(9, 64))
def test_expected_norms_give_back_what_they_are_made_of(squared: float, trace: float, small: int, big: int) -> None:
    """Equation A.1 of the paper, turned around."""
    found = Norms(squared + trace / small, small, squared + trace / big, big)
    assert found.squared == pytest.approx(squared, rel=1e-6, abs=1e-9 * trace)
    assert found.trace == pytest.approx(trace, rel=1e-6, abs=1e-9 * squared)


def test_parts_of_a_transformer_add_up_to_the_gradient_of_the_step(make_training: Callable[..., Training]) -> None:
    training = make_training(hardware=Hardware(micro_batch=3))
    parameters = list(training.model.parameters())
    with torch.no_grad():
        for weight in parameters:
            weight.normal_(0.0, 0.2, generator=torch.Generator().manual_seed(weight.numel()))
    micro = training.batches(0)
    found = measure(training.model, CausalLM(), parameters, micro)
    (whole,) = make_training(hardware=Hardware(micro_batch=8)).batches(0)
    loss = CausalLM().losses(training.model, whole)
    (sum(loss.values()) / sum(whole.counts.values())).backward()  # type: ignore[union-attr]
    squared = sum(float((weight.grad**2).sum()) for weight in parameters if weight.grad is not None)
    assert found.big == pytest.approx(squared, rel=1e-4)
    assert found.big_rows == 8
    assert found.small_rows == pytest.approx(3 / (1 / 3 + 1 / 3 + 1 / 2))

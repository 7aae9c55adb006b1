"""The range test, on quadratics whose largest stable rate is known, and what is read from curves of known shape."""

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
from danlu.optim.adamw import AdamW
from danlu.optim.clipping import NoClipping
from danlu.train.range_test import HIGHEST, LOWEST, Curve, range_test, running_means, suggest
from danlu.train.setup import Training


class Quadratic:
    """``½ Σ λ_i (w_i - c_i)²`` with a minimum of ``floor``; c moves about from step to step, as batches do."""

    def __init__(self, eigenvalues: list[float], *, floor: float) -> None:
        self.eigenvalues, self.floor = torch.tensor(eigenvalues, dtype=torch.float64), floor

    def losses(self, model: Any, batch: Batch) -> dict[str, Tensor]:
        w = model(torch.eye(len(self.eigenvalues), dtype=torch.float64))[:, 0]
        return {"q": 0.5 * (self.eigenvalues * (w - batch.inputs["c"][0]) ** 2).sum() + self.floor}

    def weight(self, name: str) -> float:
        return 1.0


def curve_of(eigenvalues: list[float], *, rate: float, noise: float, steps: int = 100, floor: float = 0.1) -> Curve:
    count = len(eigenvalues)
    model = nn.Linear(count, 1, bias=False).double()
    model.weight.data = torch.zeros(1, count, dtype=torch.float64)

    def batches(step: int) -> list[Batch]:
        c = 3 + noise * np.random.default_rng([7, step]).normal(size=(1, count))
        return [Batch({"c": torch.from_numpy(c)}, {}, {"q": 1}, 1)]

    optimizer = torch.optim.SGD([{"params": list(model.parameters()), "lr_scale": rate}], lr=1.0)
    return range_test(
        model, batches, Quadratic(eigenvalues, floor=floor), optimizer,  # type: ignore[arg-type]
        steps=steps, clip=NoClipping(), after=lambda *_: None,
    )  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(
    st.floats(-1, 2), st.floats(1, 30), st.floats(0, 0.3), st.floats(-1.5, 1.5), st.sampled_from([40, 60, 100])
)  # fmt: skip
def test_the_suggestion_is_stable_and_not_far_below(
    log_top: float, condition: float, noise: float, off: float, steps: int
) -> None:
    """Gradient descent on a quadratic is stable below 2 / λ, the largest eigenvalue (Nesterov 2004, theorem 2.1.14)."""
    top = 10.0**log_top
    stable = 2 / top
    rate = stable * 10.0**off  # the recipe's, as much as 30 times too high or too low
    curve = curve_of([top, top / condition**0.5, top / condition], rate=rate, noise=noise, steps=steps)
    found = suggest(curve)
    assert curve.diverged
    assert found.factor is not None, found.why
    assert stable / 500 < found.factor * rate < stable
    assert found.lowest is not None and found.lowest * rate > found.factor * rate


def test_the_lowest_loss_is_at_the_edge_of_what_is_stable() -> None:
    """Many steps, so that rates hardly move within one, and noise that keeps the fastest direction awake."""
    curve = curve_of([1.0, 1.0, 1.0], rate=2.0, noise=0.3, steps=1000)
    found = suggest(curve)
    assert found.lowest is not None and 0.1 < found.lowest < 1.5


def test_factors_rise_by_one_ratio_and_a_loss_belongs_to_the_step_before() -> None:
    curve = curve_of([1e-9], rate=1.0, noise=0.0, steps=61)
    assert curve.factors == pytest.approx(np.geomspace(LOWEST, HIGHEST, 61)[:-1])
    assert len(curve.losses) == 60
    one = curve_of([2.0], rate=0.5, noise=0.0, steps=61)
    w = losses = 0.0
    for factor, loss in zip(one.factors, one.losses, strict=True):
        w -= 0.5 * factor * 2.0 * (w - 3)
        losses = (w - 3) ** 2 + 0.1
        assert loss == pytest.approx(losses)


def test_the_smoothed_curve_does_not_lag() -> None:
    """A straight line by the logarithm of the factor stays on itself."""
    factors = [float(factor) for factor in np.geomspace(1e-3, 1e1, 50)]
    curve = Curve(factors, [5 - 2 * math.log(factor) for factor in factors], diverged=False)
    for factor, loss in curve.smoothed:
        assert loss == pytest.approx(5 - 2 * math.log(factor))
    assert running_means([4.0] * 9) == pytest.approx([4.0] * 9)


def shape(loss: Callable[[float], float], *, diverged: bool = False, noise: float = 0.0) -> Curve:
    factors = [float(factor) for factor in np.geomspace(LOWEST, HIGHEST, 100)]
    random = np.random.default_rng(4)
    return Curve(factors, [loss(math.log10(x)) + noise * random.normal() for x in factors], diverged)


def test_the_steepest_place_is_found() -> None:
    """A logistic fall around a factor of 0.01, then a rise at 10."""
    curve = shape(lambda log: 8 - 3 / (1 + math.exp(-6 * (log + 2))) + 4 / (1 + math.exp(-9 * (log - 1))), noise=0.01)
    found = suggest(curve)
    assert found.factor == found.steepest == pytest.approx(0.01, rel=0.5)
    assert found.why == "where the loss falls fastest"


def test_a_late_fall_is_bounded_by_a_tenth_of_the_lowest() -> None:
    curve = shape(lambda log: 8 - 3 / (1 + math.exp(-6 * log)) + 9 / (1 + math.exp(-12 * (log - 1))))
    found = suggest(curve)
    assert found.lowest is not None and found.steepest is not None
    assert found.factor == pytest.approx(found.lowest / 10) and found.factor < found.steepest


@pytest.mark.parametrize(
    ("curve", "why"),
    [
        (shape(lambda log: 8.0, noise=0.05), "never falls"),
        (shape(lambda log: 8 + max(0.0, log) ** 2, noise=0.05), "never falls"),
        (shape(lambda log: 8 - max(0.0, log)), "does not rise again, up to 100 times"),
        (shape(lambda log: 5 + abs(log + 3.5)), "rises almost from the start"),
        (Curve([1e-4] * 3, [8.0, 30.0, 900.0], diverged=True), "diverges within the first steps"),
        (Curve([], [], diverged=False), "0 points"),
    ],
)
def test_a_curve_without_a_clear_minimum_says_so(curve: Curve, why: str) -> None:
    found = suggest(curve)
    assert found.factor is None
    assert why in found.why


def test_a_loss_that_is_no_number_ends_the_test() -> None:
    curve = curve_of([1e200], rate=1e200, noise=0.0)
    assert curve.diverged
    assert all(math.isfinite(loss) for loss in curve.losses)


def test_a_transformer_gets_a_rate_and_the_same_one_again(make_training: Callable[..., Training]) -> None:
    curves = []
    for _ in range(2):
        known = make_training(optimizer=AdamW(lr=0.02))
        curve = range_test(
            known.model, known.batches, CausalLM(), known.optimizer,
            steps=60, clip=NoClipping(), after=lambda *_: None,
        )  # fmt: skip
        curves.append(curve)
    assert curves[0] == curves[1]
    found = suggest(curves[0])
    assert found.factor is not None and 0.01 < found.factor < 10, found

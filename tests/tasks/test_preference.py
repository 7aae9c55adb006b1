"""Losses of pairs against their papers' equations in NumPy, and their gradients against derivatives by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from danlu.tasks.preference import DPO, IPO, ORPO, Likelihoods, Preference, SimPO

Floats = Any
Equation = Callable[[Floats, Floats, Floats], tuple[Floats, Floats]]


def sigmoid(value: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-value))


def dpo(beta: float, smoothing: float) -> Equation:
    def of(model: Floats, reference: Floats, tokens: Floats) -> tuple[Floats, Floats]:
        ratio = model - reference
        margin = beta * (ratio[:, 0] - ratio[:, 1])
        loss = -(1 - smoothing) * np.log(sigmoid(margin)) - smoothing * np.log(sigmoid(-margin))
        slope = beta * (smoothing * sigmoid(margin) - (1 - smoothing) * sigmoid(-margin))
        return loss, np.stack([slope, -slope], 1)

    return of


def ipo(beta: float) -> Equation:
    def of(model: Floats, reference: Floats, tokens: Floats) -> tuple[Floats, Floats]:
        h = np.log(np.exp(model[:, 0] - reference[:, 0]) / np.exp(model[:, 1] - reference[:, 1]))
        slope = 2 * (h - 1 / (2 * beta))
        return (h - 1 / (2 * beta)) ** 2, np.stack([slope, -slope], 1)

    return of


def simpo(beta: float, gamma: float) -> Equation:
    def of(model: Floats, reference: Floats, tokens: Floats) -> tuple[Floats, Floats]:
        margin = beta / tokens[:, 0] * model[:, 0] - beta / tokens[:, 1] * model[:, 1] - gamma
        slope = -sigmoid(-margin)
        return -np.log(sigmoid(margin)), np.stack([slope * beta / tokens[:, 0], -slope * beta / tokens[:, 1]], 1)

    return of


def orpo(weight: float) -> Equation:
    def of(model: Floats, reference: Floats, tokens: Floats) -> tuple[Floats, Floats]:
        p = np.exp(model / tokens)
        odds = p / (1 - p)
        ratio = np.log(odds[:, 0] / odds[:, 1])
        slope = -weight * sigmoid(-ratio)
        gradient = np.stack([(slope / (1 - p[:, 0]) - 1), -slope / (1 - p[:, 1])], 1) / tokens
        return -np.log(p[:, 0]) - weight * np.log(sigmoid(ratio)), gradient

    return of


CASES: list[tuple[Preference, Equation]] = [
    (DPO(), dpo(0.1, 0.0)),
    (DPO(beta=0.5, label_smoothing=0.2), dpo(0.5, 0.2)),
    (IPO(beta=0.3), ipo(0.3)),
    (SimPO(beta=2.5, gamma=0.7), simpo(2.5, 0.7)),
    (ORPO(weight=0.4), orpo(0.4)),
]
NATS = st.lists(st.floats(0.05, 6.0), min_size=4, max_size=4)


@pytest.mark.parametrize(("loss", "equation"), CASES, ids=[type(loss).__name__ for loss, _ in CASES])
@given(model=NATS, reference=NATS, tokens=st.lists(st.integers(1, 9), min_size=4, max_size=4))
def test_losses_and_gradients_are_those_of_the_papers(
    loss: Preference, equation: Equation, model: list[float], reference: list[float], tokens: list[int]
) -> None:
    """Of log-probabilities by token that are drawn."""
    counts = torch.tensor(tokens, dtype=torch.float64).reshape(2, 2)
    ours = (-torch.tensor(model, dtype=torch.float64).reshape(2, 2) * counts).requires_grad_()
    before = -torch.tensor(reference, dtype=torch.float64).reshape(2, 2) * counts
    found = loss.losses(Likelihoods(ours, before if loss.refers else torch.zeros_like(before), counts))
    wanted, gradient = equation(ours.detach().numpy(), before.numpy(), counts.numpy())
    np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(torch.autograd.grad(found.sum(), ours)[0].numpy(), gradient, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(
    "loss", [DPO(label_smoothing=0.1), IPO(), SimPO(), ORPO()], ids=lambda loss: type(loss).__name__
)
@pytest.mark.parametrize("nats", [(0.0, 0.0), (0.0, 1e5), (1e5, 0.0)], ids=str)
def test_even_certain_and_impossible_answers_have_finite_losses(loss: Preference, nats: tuple[float, float]) -> None:
    ours = (-torch.tensor([nats], dtype=torch.float64)).requires_grad_()
    found = loss.losses(Likelihoods(ours, torch.zeros_like(ours), torch.ones_like(ours)))
    assert found.isfinite().all()
    assert torch.autograd.grad(found.sum(), ours)[0].isfinite().all()


@pytest.mark.parametrize(("loss", "per_token"), [(DPO(), False), (IPO(), False), (SimPO(), True), (ORPO(), True)])
def test_rewards_are_higher_for_what_the_loss_wants_likelier(loss: Preference, per_token: bool) -> None:
    """An answer of twice as many tokens, each as likely, is no worse for losses that go by the token."""
    said = Likelihoods(torch.tensor([[-4.0, -8.0], [-4.0, -3.0]]), torch.zeros(2, 2), torch.tensor([[2.0, 4], [2, 2]]))
    rewards = loss.rewards(said)
    assert bool(rewards[0, 0] == rewards[0, 1]) == per_token
    assert rewards[1, 0] < rewards[1, 1]

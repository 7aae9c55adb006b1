"""Advantages by what the papers say of them; losses and gradients of tokens against their equations in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from danlu.tasks.advantages import advantages, clipped_losses, divergences, equal_groups

REWARDS = st.lists(st.integers(-50, 50).map(lambda n: n / 8), min_size=6, max_size=6)
NATS = st.lists(st.floats(0.01, 6.0), min_size=5, max_size=5)


@given(rewards=REWARDS, shift=st.integers(-40, 40), scale=st.floats(0.01, 100.0))
def test_divided_advantages_do_not_depend_on_shift_or_scale(rewards: list[float], shift: int, scale: float) -> None:
    groups_PG = np.array(rewards).reshape(2, 3)
    found_PG = advantages(groups_PG, divide=True)
    np.testing.assert_allclose(advantages(groups_PG * scale + shift, divide=True), found_PG, atol=1e-8)
    for group, found in zip(groups_PG, found_PG, strict=True):
        wanted = (group - np.mean(group)) / np.std(group, ddof=1) if np.ptp(group) else np.zeros(3)
        np.testing.assert_allclose(found, wanted, atol=1e-12)


@given(rewards=REWARDS, shift=st.integers(-40, 40), scale=st.floats(0.01, 100.0))
def test_undivided_advantages_are_distances_from_the_mean(rewards: list[float], shift: int, scale: float) -> None:
    groups_PG = np.array(rewards).reshape(3, 2)
    found_PG = advantages(groups_PG * scale + shift, divide=False)
    np.testing.assert_allclose(
        found_PG, scale * (groups_PG - groups_PG.mean(1, keepdims=True)), atol=1e-9 * scale + 1e-11
    )


@given(reward=st.floats(-1e6, 1e6), divide=st.booleans())
def test_equal_rewards_say_nothing(reward: float, divide: bool) -> None:
    """Nor do those that differ by rounding only."""
    group_PG = np.full((2, 7), reward) * (1 + np.linspace(0, 1e-8, 7))
    assert equal_groups(group_PG).all()
    assert (advantages(group_PG, divide=divide) == 0).all()


@given(ours=NATS, written=NATS, signs=st.lists(st.floats(-3.0, 3.0), min_size=5, max_size=5))
def test_token_losses_and_gradients_are_those_of_the_papers(
    ours: list[float], written: list[float], signs: list[float]
) -> None:
    low, high = 0.2, 0.28
    ratio, better = np.exp(np.array(written) - np.array(ours)), np.array(signs)
    assume(min(abs(ratio - 1 + low).min(), abs(ratio - 1 - high).min()) > 1e-6)  # no gradient there
    logs_N = torch.tensor([-nats for nats in ours], dtype=torch.float64, requires_grad=True)
    written_N = torch.tensor([-nats for nats in written], dtype=torch.float64, requires_grad=True)
    found_N = clipped_losses(logs_N, written_N, torch.tensor(signs, dtype=torch.float64), low=low, high=high)
    wanted = -np.minimum(ratio * better, np.clip(ratio, 1 - low, 1 + high) * better)
    np.testing.assert_allclose(found_N.detach().numpy(), wanted, atol=1e-12)
    moves = np.where(better >= 0, ratio < 1 + high, ratio > 1 - low)
    found_N.sum().backward()  # type: ignore[no-untyped-call]
    gradient: Any = logs_N.grad
    np.testing.assert_allclose(gradient.numpy(), np.where(moves, -ratio * better, 0.0), atol=1e-10)
    assert written_N.grad is None


@given(ours=NATS, reference=NATS)
def test_divergences_are_never_negative_and_those_of_the_paper(ours: list[float], reference: list[float]) -> None:
    logs_N = torch.tensor([-nats for nats in ours], dtype=torch.float64, requires_grad=True)
    found_N = divergences(logs_N, torch.tensor([-nats for nats in reference], dtype=torch.float64))
    ratio = np.exp(np.array(ours) - np.array(reference))
    np.testing.assert_allclose(found_N.detach().numpy(), ratio - np.log(ratio) - 1, atol=1e-9)
    assert (found_N >= 0).all()
    found_N.sum().backward()  # type: ignore[no-untyped-call]
    gradient: Any = logs_N.grad
    np.testing.assert_allclose(gradient.numpy(), 1 - ratio, atol=1e-9)


def test_the_mean_of_divergences_is_the_divergence() -> None:
    """Over tokens drawn from the model, to the error of so many draws."""
    generator = torch.Generator().manual_seed(1)
    model_V, reference_V = (torch.randn(9, dtype=torch.float64, generator=generator).log_softmax(-1) for _ in range(2))
    drawn_N = torch.multinomial(model_V.exp(), 40_000, replacement=True, generator=generator)
    found_N = divergences(model_V[drawn_N], reference_V[drawn_N])
    wanted = (model_V.exp() * (model_V - reference_V)).sum().item()
    assert found_N.mean().item() == pytest.approx(wanted, abs=4 * found_N.std().item() / 200)

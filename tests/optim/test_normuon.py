"""NorMuon against the algorithm of its paper in numpy, behind the polar factor, which has tests of its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from danlu.optim.muon import Muon, orthogonalise
from danlu.optim.normuon import NorMuon

SETTINGS = {"lr": 0.02, "momentum": 0.9, "momentum_start": 0.9, "precision": "fp32"}


@pytest.mark.parametrize(("rows", "columns"), [(12, 20), (40, 10)])
def test_steps_follow_algorithm_1(rows: int, columns: int) -> None:
    weights = [nn.Parameter(torch.randn(rows, columns)) for _ in range(2)]
    optimizer = NorMuon(**SETTINGS, neuron_beta=0.8).build(
        [(f"blocks.{number}.up.weight", weight) for number, weight in enumerate(weights)]
    )
    expected = [weight.detach().numpy().copy() for weight in weights]
    momentum = [np.zeros((rows, columns)) for _ in weights]
    second = [np.zeros(rows) for _ in weights]
    for _ in range(5):
        for number, weight in enumerate(weights):
            gradient = torch.randn(rows, columns)
            weight.grad = gradient
            momentum[number] = 0.9 * momentum[number] + 0.1 * gradient.numpy()
            nesterov = 0.9 * momentum[number] + 0.1 * gradient.numpy()
            update = orthogonalise(torch.from_numpy(nesterov).float()[None])[0].double().numpy()
            second[number] = 0.8 * second[number] + 0.2 * (update**2).mean(1)
            evened = update / np.sqrt(second[number])[:, None]
            # Muon's size in place of the paper's 0.2 sqrt(mn).
            evened *= np.linalg.norm(update) / np.linalg.norm(evened)
            expected[number] -= 0.02 * max(1.0, rows / columns) ** 0.5 * evened
        optimizer.step()
        for weight, wanted in zip(weights, expected, strict=True):
            np.testing.assert_allclose(weight.detach().numpy(), wanted, rtol=0, atol=2e-5)


def test_neurons_that_move_more_than_others_are_slowed_down() -> None:
    moved = {}
    for choice in (Muon, NorMuon):
        weight = nn.Parameter(torch.zeros(6, 3))  # tall: its rows cannot all be of one length
        optimizer = choice(**SETTINGS).build([("blocks.0.up.weight", weight)])
        generator = torch.Generator().manual_seed(1)
        total = torch.zeros(6)
        for _ in range(30):
            before = weight.detach().clone()
            weight.grad = torch.randn(6, 3, generator=generator) * torch.tensor([9.0, 1, 1, 1, 1, 1])[:, None]
            optimizer.step()
            total += (weight.detach() - before).norm(dim=1)
        moved[choice] = (total.max() / total.min()).item()
    assert moved[NorMuon] < 1.3 < 2 < moved[Muon], moved


def test_a_matrix_with_a_zero_gradient_stays() -> None:
    weight = nn.Parameter(torch.ones(4, 6))
    optimizer = NorMuon(**SETTINGS).build([("blocks.0.up.weight", weight)])
    for _ in range(3):
        weight.grad = torch.zeros(4, 6)
        optimizer.step()
    assert weight.eq(1).all()

"""Clipping against ``torch.nn.utils``, and adaptive clipping against timm's formula in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from danlu import catalog
from danlu.optim.clipping import ClipAdaptive, ClipNorm, ClipValue, NoClipping, gradient_norm

SHAPES = [(4, 3), (5,), (), (2, 3, 4), (3, 2)]


def parameters(scale: float) -> list[nn.Parameter]:
    """The last of them has no gradient."""
    made = [nn.Parameter(torch.randn(shape)) for shape in SHAPES]
    for parameter in made[:-1]:
        parameter.grad = torch.randn(parameter.shape) * scale
    return made


def copies(made: list[nn.Parameter]) -> list[nn.Parameter]:
    copied = [nn.Parameter(parameter.detach().clone()) for parameter in made]
    for copy, parameter in zip(copied, made, strict=True):
        copy.grad = None if parameter.grad is None else parameter.grad.clone()
    return copied


def assert_alike(ours: list[nn.Parameter], theirs: list[nn.Parameter], tolerance: float = 1e-6) -> None:
    for mine, his in zip(ours[:-1], theirs[:-1], strict=True):
        torch.testing.assert_close(mine.grad, his.grad, rtol=tolerance, atol=0)
    assert ours[-1].grad is None


@pytest.mark.parametrize("scale", [0.01, 10.0], ids=["within", "above"])
def test_the_norm_is_cut_as_torch_cuts_it(scale: float) -> None:
    ours = parameters(scale)
    theirs = copies(ours)
    norm = gradient_norm(ours)
    ClipNorm(limit=1.5).clip(ours, norm)
    torch.testing.assert_close(norm, torch.nn.utils.clip_grad_norm_(theirs, 1.5))
    assert_alike(ours, theirs)


def test_values_are_cut_as_torch_cuts_them() -> None:
    ours = parameters(1.0)
    theirs = copies(ours)
    norm = gradient_norm(ours)
    ClipValue(limit=0.5).clip(ours, norm)
    torch.testing.assert_close(norm, torch.nn.utils.get_total_norm([p.grad for p in theirs if p.grad is not None]))
    torch.nn.utils.clip_grad_value_(theirs, 0.5)
    assert_alike(ours, theirs, tolerance=0)


def unit_norm(x: np.ndarray) -> Any:
    return np.sqrt((x**2).sum(-1, keepdims=True)) if x.ndim > 1 else np.sqrt((x**2).sum())


@pytest.mark.parametrize("scale", [1e-3, 1.0])
def test_units_are_cut_as_timm_cuts_them(scale: float) -> None:
    ours = parameters(scale)
    ours[0].data[1] = 1e-5  # a row of weights that are nearly nothing
    ours[0].grad[2] = 0  # type: ignore[index]  # and one that no gradient reaches
    expected = copies(ours)
    for parameter in expected[:-1]:
        weight, gradient = parameter.detach().double().numpy(), parameter.grad.double().numpy()  # type: ignore[union-attr]
        most, norm = np.maximum(unit_norm(weight), 1e-3) * 0.02, unit_norm(gradient)
        cut = gradient * (most / np.maximum(norm, 1e-6))
        parameter.grad = torch.tensor(np.where(norm < most, gradient, cut), dtype=torch.float32)
    before = torch.nn.utils.get_total_norm([p.grad for p in ours if p.grad is not None])
    torch.testing.assert_close(gradient_norm(ours), before)
    ClipAdaptive(limit=0.02).clip(ours, before)
    assert_alike(ours, expected, tolerance=1e-5)


def test_none_leaves_them() -> None:
    ours = parameters(100.0)
    theirs = copies(ours)
    norm = gradient_norm(ours)
    NoClipping().clip(ours, norm)
    torch.testing.assert_close(norm, torch.nn.utils.get_total_norm([p.grad for p in theirs if p.grad is not None]))
    assert_alike(ours, theirs, tolerance=0)


@pytest.mark.parametrize("name", catalog.names("clipping"))
def test_without_gradients_there_is_nothing_to_cut(name: str) -> None:
    weights = [nn.Parameter(torch.ones(2))]
    assert float(gradient_norm(weights)) == 0
    catalog.load("clipping", name, key="clipping")().clip(weights, gradient_norm(weights))
    assert weights[0].grad is None

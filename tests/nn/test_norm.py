"""RMSNorm against torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from danlu.nn.norm import RMSNorm, rms_norm


@pytest.mark.parametrize("eps", [1e-6, 0.5])
def test_equals_torch(eps: float) -> None:
    x = torch.randn(3, 5, 7) * torch.tensor([1e-3, 1.0, 1e3])[:, None, None]
    weight = torch.randn(7)
    norm = RMSNorm(7, eps=eps, weight=True)
    norm.weight = torch.nn.Parameter(weight)
    torch.testing.assert_close(rms_norm(x, eps), F.rms_norm(x, (7,), eps=eps), rtol=1e-6, atol=0)
    torch.testing.assert_close(norm(x), F.rms_norm(x, (7,), weight, eps=eps), rtol=1e-6, atol=0)


def test_half_types_are_normed_in_float32() -> None:
    small = torch.full((1, 64), 1e-4, dtype=torch.float16)  # its square is below float16's smallest number
    torch.testing.assert_close(rms_norm(small, 1e-12), torch.ones_like(small), rtol=1e-3, atol=0)


def test_no_gain_is_no_parameter() -> None:
    assert list(RMSNorm(7, eps=1e-6, weight=False).parameters()) == []

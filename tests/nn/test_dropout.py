"""Masks drawn many at a time: the shares, the mean, the gradient and the source that torch's own dropout has."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from danlu.nn.dropout import STEPS, dropout


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_share_and_scale(rate: float, dtype: torch.dtype) -> None:
    """So many are dropped as the rate says, but for chance; the others grow to ``1 / (1 - rate)``, as torch's do."""
    torch.manual_seed(0)
    ones = torch.ones(400, 1001, dtype=dtype)
    out = dropout(ones, rate)
    dropped = int((out == 0).sum())
    deviation = (out.numel() * rate * (1 - rate)) ** 0.5
    assert abs(dropped - out.numel() * rate) < 4.5 * deviation
    (kept,) = set(out.flatten().tolist()) - {0.0}
    (theirs,) = set(torch.nn.functional.dropout(ones, rate).flatten().tolist()) - {0.0}
    assert kept == pytest.approx(theirs, rel=2 / STEPS / (1 - rate) + torch.finfo(dtype).eps)


def test_neighbours_know_nothing_of_each_other() -> None:
    """Four elements share a draw: all 16 patterns of them are equally frequent."""
    torch.manual_seed(1)
    fours = (dropout(torch.ones(100_000, 4), 0.5) == 0).long() @ torch.tensor([1, 2, 4, 8])
    counts = fours.bincount(minlength=16).double()
    chi_square = float(((counts - 6250) ** 2 / 6250).sum())
    assert chi_square < 44.3  # one in 10,000 of 15 degrees of freedom is above


@given(st.lists(st.integers(1, 9), min_size=1, max_size=3), st.integers(0, 2**32))
def test_gradient_is_the_mask(shape: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    out = dropout(x, 0.3)
    out.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(out, x * x.grad)
    assert set(x.grad.flatten().tolist()) <= {0.0, STEPS / (STEPS - round(0.3 * STEPS))}


def test_drawn_from_torchs_source() -> None:
    """Equal seeds are equal masks, the next call has another one, and threads change nothing."""
    x = torch.ones(1000)
    torch.manual_seed(3)
    first, second = dropout(x, 0.5), dropout(x, 0.5)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        torch.manual_seed(3)
        assert torch.equal(dropout(x, 0.5), first)
    finally:
        torch.set_num_threads(threads)
    assert not torch.equal(first, second)


def test_nothing_to_do() -> None:
    x = torch.ones(5)
    assert dropout(x, 0.0) is x
    assert dropout(x, 0.5, training=False) is x

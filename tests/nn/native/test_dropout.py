"""Dropout in attention in C++: its masks are random, and what they leave is as the formula in float64 has it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from danlu.nn.dropout import STEPS
from danlu.nn.native import attention
from danlu.nn.native.attention import NativeAttention

SCALE, WIDEST = 0.3, max(attention.WIDTHS)
NEAR = 0.007
"""Of bfloat16, by the norm."""

pytestmark = pytest.mark.skipif(
    not attention.HERE, reason="this processor has no AVX512-BF16, or AMX as well, with which torch's products are used"
)


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rate: float,
    *,
    seed: int,
    causal: bool = False,
    segments: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    torch.manual_seed(seed)
    out: Tensor = NativeAttention.apply(q, k, v, segments, None, causal, SCALE, rate)  # type: ignore[no-untyped-call]
    return out


def mask_of(rows: int, heads: int, length: int, rate: float, *, seed: int) -> Tensor:
    """Which weights are kept, ``[rows, heads, length, length]``: equal ones, of values of which each has a place."""
    q = torch.zeros(rows, heads, length, WIDEST, dtype=torch.bfloat16)
    parts = []
    for start in range(0, length, WIDEST):
        v = torch.zeros_like(q)
        places = torch.arange(min(WIDEST, length - start))
        v[:, :, start + places, places] = 1
        parts.append(attend(q, q, v, rate, seed=seed)[..., : len(places)] != 0)
    return torch.cat(parts, -1)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_so_many_are_dropped_as_the_rate_says(rate: float) -> None:
    kept = mask_of(4, 3, 256, rate, seed=1)
    deviation = (kept.numel() * rate * (1 - rate)) ** 0.5
    assert abs(int((~kept).sum()) - kept.numel() * rate) < 4.5 * deviation
    for axes in ((0, 1, 2), (0, 1, 3), (0, 2, 3), (1, 2, 3)):  # by keys, queries, heads and rows
        counts = kept.double().sum(axes)
        each = kept.numel() / counts.numel()
        chi_square = float(((counts - each * (1 - rate)) ** 2).sum() / (each * rate * (1 - rate)))
        assert chi_square < counts.numel() + 4.5 * (2 * counts.numel()) ** 0.5


def test_neighbours_know_nothing_of_each_other() -> None:
    """All four patterns of two are equally frequent, whatever their distance, along each axis."""
    kept = mask_of(4, 4, 256, 0.5, seed=2).long()
    for axis in range(4):
        for distance in (1, 2, 3, 8, 15, 16, 17, 32, 64, 128):
            if distance < kept.shape[axis]:
                count = kept.shape[axis] - distance
                pairs = kept.narrow(axis, 0, count) * 2 + kept.narrow(axis, distance, count)
                counts = pairs.flatten().bincount(minlength=4).double()
                chi_square = float(((counts - counts.sum() / 4) ** 2 / (counts.sum() / 4)).sum())
                assert chi_square < 25, (axis, distance)  # one in 65,000 of 3 degrees of freedom is above


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("length", [9, 40, 77, 300])
@pytest.mark.parametrize("rate", [0.1, 0.6])
@pytest.mark.parametrize("document", [None, 7, 45])
def test_output_and_gradients_equal_the_formula_in_float64(
    document: int | None, rate: float, length: int, causal: bool
) -> None:
    """Also of documents, each of which begins where it does."""
    numbers = torch.arange(length).div(document or length, rounding_mode="floor").repeat(2, 1)
    segments = (numbers, numbers) if document else None
    generator = torch.Generator().manual_seed(length)
    q, k, v, grad = (torch.randn(2, length, 3, 32, generator=generator).bfloat16().transpose(1, 2) for _ in range(4))
    ours = [each.clone().requires_grad_() for each in (q, k, v)]
    exact = [each.double().requires_grad_() for each in (q, k, v)]
    out = attend(*ours, rate, seed=7, causal=causal, segments=segments)
    seen = numbers[:, None, :, None] == numbers[:, None, None, :]
    scores = (exact[0] @ exact[1].mT * SCALE).masked_fill(~(seen.tril() if causal else seen), -torch.inf)
    factor = STEPS / (STEPS - round(rate * STEPS))
    wanted = (scores.softmax(-1) * mask_of(2, 3, length, rate, seed=7) * factor) @ exact[2]
    found, right = (
        [each, *torch.autograd.grad(each, given, grad.to(each.dtype))] for each, given in ((out, ours), (wanted, exact))
    )
    for mine, other in zip(found, right, strict=True):
        assert (mine.double() - other).norm() <= NEAR * other.norm()


def test_drawn_from_torchs_source() -> None:
    """Equal seeds are equal masks, the next call has another one, and threads change no bit of what is learned."""
    given = [torch.randn(2, 3, 90, 32, generator=torch.Generator().manual_seed(n)).bfloat16() for n in range(3)]
    q, k, v = (each.requires_grad_() for each in given)
    first = attend(q, k, v, 0.5, seed=3)
    grads = torch.autograd.grad(first.float().square().sum(), (q, k, v))
    second: Tensor = NativeAttention.apply(q, k, v, None, None, False, SCALE, 0.5)  # type: ignore[no-untyped-call]
    assert not torch.equal(first, second)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        again = attend(q, k, v, 0.5, seed=3)
        assert torch.equal(again, first)
        for one, other in zip(torch.autograd.grad(again.float().square().sum(), (q, k, v)), grads, strict=True):
            assert torch.equal(one, other)
    finally:
        torch.set_num_threads(threads)


def test_without_dropout_nothing_is_drawn() -> None:
    q = torch.randn(1, 1, 20, 32).bfloat16()
    state = torch.get_rng_state()
    NativeAttention.apply(q, q, q, None, None, False, SCALE, 0.0)  # type: ignore[no-untyped-call]
    assert torch.equal(torch.get_rng_state(), state)

"""Attention in blocks against the formula in float64, forward and backward, documents kept apart."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from danlu.nn.blocked import BlockedAttention, block_length

SCALE = 0.3


def formula(tensors: Sequence[Tensor], segments: Tensor, *, causal: bool) -> Tensor:
    q, k, v = tensors
    length = q.shape[2]
    mask = segments[:, None, :, None] == segments[:, None, None, :]
    mask = mask & torch.ones(length, length, dtype=torch.bool).tril() if causal else mask
    scores = (q @ k.mT * SCALE).masked_fill(~mask, -torch.inf)
    return scores.softmax(-1) @ v


@pytest.mark.parametrize("length", [1, 5, 64, 200, 300])
@pytest.mark.parametrize("documents", [1, 3])
@pytest.mark.parametrize("causal", [True, False])
def test_output_and_gradients_equal_the_formula_in_float64(length: int, documents: int, causal: bool) -> None:
    torch.manual_seed(length)
    q, k, v, grad = (torch.randn(2, 3, length, 16) for _ in range(4))
    segments = torch.randint(documents, (2, length)).sort(dim=1).values
    ours = [x.clone().requires_grad_() for x in (q, k, v)]
    exact = [x.double().requires_grad_() for x in (q, k, v)]
    out = BlockedAttention.apply(*ours, segments if documents > 1 else None, causal, SCALE)  # type: ignore[no-untyped-call]
    wanted = formula(exact, segments, causal=causal)
    torch.testing.assert_close(out.double(), wanted, rtol=1e-5, atol=1e-5)
    for got, want in zip(
        torch.autograd.grad(out, ours, grad), torch.autograd.grad(wanted, exact, grad.double()), strict=True
    ):
        torch.testing.assert_close(got.double(), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("causal", [True, False])
def test_another_document_has_no_gradient_at_all(causal: bool) -> None:
    q, k, v = (torch.randn(1, 2, 200, 8, requires_grad=True) for _ in range(3))
    segments = torch.cat([torch.zeros(1, 90), torch.ones(1, 110)], dim=1).long()
    BlockedAttention.apply(q, k, v, segments, causal, SCALE)[:, :, 90:].square().sum().backward()  # type: ignore[no-untyped-call]
    for tensor in (q, k, v):
        assert tensor.grad is not None
        assert tensor.grad[:, :, :90].eq(0).all()
        assert tensor.grad[:, :, 90:].ne(0).any()


@pytest.mark.parametrize("causal", [True, False])
def test_bfloat16_is_as_near_as_bfloat16_gets(causal: bool) -> None:
    ours = [torch.randn(1, 2, 130, 16, dtype=torch.bfloat16, requires_grad=True) for _ in range(3)]
    exact = [x.detach().double().requires_grad_() for x in ours]
    grad = torch.randn(1, 2, 130, 16, dtype=torch.bfloat16)
    out = BlockedAttention.apply(*ours, None, causal, SCALE)  # type: ignore[no-untyped-call]
    wanted = formula(exact, torch.zeros(1, 130), causal=causal)
    torch.testing.assert_close(out.double(), wanted, rtol=2e-2, atol=2e-2)
    for got, want in zip(
        torch.autograd.grad(out, ours, grad), torch.autograd.grad(wanted, exact, grad.double()), strict=True
    ):
        assert (got.double() - want).norm() < 0.01 * want.norm()


def test_blocks_are_a_quarter_of_the_row_within_bounds() -> None:
    assert [block_length(length) for length in (8, 256, 512, 4096)] == [64, 64, 128, 256]

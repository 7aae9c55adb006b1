"""Attention in blocks against the formula in float64, forward and backward, documents kept apart."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.corpus.batches import PADDING
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
    out = BlockedAttention.apply(*ours, (segments, segments) if documents > 1 else None, None, causal, SCALE)  # type: ignore[no-untyped-call]
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
    BlockedAttention.apply(q, k, v, (segments, segments), None, causal, SCALE)[:, :, 90:].square().sum().backward()  # type: ignore[no-untyped-call]
    for tensor in (q, k, v):
        assert tensor.grad is not None
        assert tensor.grad[:, :, :90].eq(0).all()
        assert tensor.grad[:, :, 90:].ne(0).any()


@pytest.mark.parametrize("causal", [True, False])
def test_bfloat16_is_as_near_as_bfloat16_gets(causal: bool) -> None:
    ours = [torch.randn(1, 2, 130, 16, dtype=torch.bfloat16, requires_grad=True) for _ in range(3)]
    exact = [x.detach().double().requires_grad_() for x in ours]
    grad = torch.randn(1, 2, 130, 16, dtype=torch.bfloat16)
    out = BlockedAttention.apply(*ours, None, None, causal, SCALE)  # type: ignore[no-untyped-call]
    wanted = formula(exact, torch.zeros(1, 130), causal=causal)
    torch.testing.assert_close(out.double(), wanted, rtol=2e-2, atol=2e-2)
    for got, want in zip(
        torch.autograd.grad(out, ours, grad), torch.autograd.grad(wanted, exact, grad.double()), strict=True
    ):
        assert (got.double() - want).norm() < 0.01 * want.norm()


def test_blocks_are_a_quarter_of_the_row_within_bounds() -> None:
    assert [block_length(length) for length in (8, 256, 512, 4096)] == [64, 64, 128, 256]


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("learned", [True, False])
def test_a_bias_of_scores_is_added_and_learned(causal: bool, learned: bool) -> None:
    """Against the scores written out, in float64."""
    generator = torch.Generator().manual_seed(3)
    q, k, v = (torch.randn(2, 3, 130, 8, dtype=torch.float64, generator=generator) for _ in range(3))
    bias = torch.randn(1, 3, 130, 130, dtype=torch.float64, generator=generator)
    segments = torch.arange(130).div(50, rounding_mode="floor").expand(2, 130)
    outs = []
    for blocked in (True, False):
        given = [each.clone().requires_grad_(each is not bias or learned) for each in (q, k, v, bias)]
        if blocked:
            out = BlockedAttention.apply(*given[:3], (segments, segments), given[3], causal, SCALE)  # type: ignore[no-untyped-call]
        else:
            seen = segments[:, None, :, None] == segments[:, None, None, :]
            seen = seen & torch.ones(130, 130, dtype=torch.bool).tril() if causal else seen
            scores = (given[0] @ given[1].mT * SCALE + given[3]).masked_fill(~seen, -torch.inf)
            out = scores.softmax(-1) @ given[2]
        out.square().sum().backward()
        outs.append([out.detach(), *(each.grad for each in given)])
    for found, wanted in zip(*outs, strict=True):
        if wanted is None:
            assert found is None and not learned
        else:
            torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_queries_look_at_other_keys_of_their_document() -> None:
    """As a decoder looks at an encoder's output."""
    generator = torch.Generator().manual_seed(4)
    sizes = {"q": 90, "k": 150, "v": 150}
    given = [torch.randn(2, 3, size, 8, dtype=torch.float64, generator=generator) for size in sizes.values()]
    of_queries, of_keys = (torch.arange(n).div(n // 3, rounding_mode="floor").repeat(2, 1) for n in (90, 150))
    of_queries[1, 80:] = PADDING  # which no key is
    ours, theirs = ([each.clone().requires_grad_() for each in given] for _ in range(2))
    out = BlockedAttention.apply(*ours, (of_queries, of_keys), None, False, SCALE)  # type: ignore[no-untyped-call]
    seen = of_queries[:, None, :, None] == of_keys[:, None, None, :]
    seen = seen | (of_queries[:, None, :, None] == PADDING)
    wanted = F.scaled_dot_product_attention(*theirs, attn_mask=seen, scale=SCALE)
    torch.testing.assert_close(out, wanted, rtol=1e-5, atol=1e-5)
    out.square().sum().backward()
    wanted.square().sum().backward()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-5, atol=1e-5)

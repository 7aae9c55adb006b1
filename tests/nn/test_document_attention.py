"""Attention of long documents by blocks of queries equals torch's own of each document, values and gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from danlu.nn import document_attention
from danlu.nn.document_attention import DocumentAttention

SCALE = 0.3


def tensors(lengths: tuple[int, ...], heads: int, kv_heads: int, dtype: torch.dtype) -> list[Tensor]:
    """Queries, keys and values as layers give them, and what comes back: tokens before heads in memory."""
    generator = torch.Generator().manual_seed(sum(lengths))
    counts = (heads, kv_heads, kv_heads, heads)
    made = [torch.randn(sum(lengths), count, 8, generator=generator, dtype=torch.float64) for count in counts]
    return [each.to(dtype).transpose(0, 1).requires_grad_(number < 3) for number, each in enumerate(made)]


def by_torch(q: Tensor, k: Tensor, v: Tensor, lengths: tuple[int, ...], causal: bool) -> Tensor:
    """Each document by itself, every head with keys of its own."""
    each = [part.split(lengths, 1) for part in (q, k, v)]
    repeats = len(q) // len(k)
    outs = [
        F.scaled_dot_product_attention(
            one[None], keys.repeat_interleave(repeats, 0)[None], values.repeat_interleave(repeats, 0)[None],
            is_causal=causal, scale=SCALE,
        )[0]
        for one, keys, values in zip(*each, strict=True)
    ]  # fmt: skip
    return torch.cat(outs, 1)


@given(
    st.lists(st.integers(1, 11), min_size=1, max_size=4).map(tuple),
    st.sampled_from([(2, 2), (4, 2), (3, 1)]),
    st.booleans(),
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_it_is_attention_within_each_document(
    lengths: tuple[int, ...], heads: tuple[int, int], causal: bool, block: int, multiple: int
) -> None:
    q, k, v, grad = tensors(lengths, *heads, torch.float64)
    theirs = by_torch(q, k, v, lengths, causal)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(document_attention, "BLOCK", block * multiple)
        patch.setattr(document_attention, "MULTIPLE", multiple)
        ours = DocumentAttention.apply(q, k, v, lengths, causal, SCALE)
        of_ours = torch.autograd.grad(ours, (q, k, v), grad)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    for mine, other in zip(of_ours, torch.autograd.grad(theirs, (q, k, v), grad), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("causal", [True, False])
def test_bfloat16_is_as_exact_as_its_numbers_are(causal: bool) -> None:
    lengths = (300, 129)
    q, k, v, grad = tensors(lengths, 6, 2, torch.bfloat16)
    exact = [each.detach().double().requires_grad_() for each in (q, k, v)]
    theirs = by_torch(*exact, lengths, causal)
    ours = DocumentAttention.apply(q, k, v, lengths, causal, SCALE)
    pairs = [(ours, theirs)]
    pairs += zip(
        torch.autograd.grad(ours, (q, k, v), grad), torch.autograd.grad(theirs, exact, grad.double()), strict=True
    )
    for mine, other in pairs:
        assert mine.dtype == torch.bfloat16
        assert float((mine.detach().double() - other.detach()).norm() / other.detach().norm()) < 2**-7


def test_nothing_is_kept_but_queries_keys_and_values() -> None:
    """Not the weights, which are as many as the square of the length."""
    lengths = (40, 24)
    q, k, v, _ = tensors(lengths, 4, 2, torch.float32)
    kept: set[int] = set()
    with torch.autograd.graph.saved_tensors_hooks(lambda each: kept.add(each.data_ptr()) or each, lambda each: each):
        DocumentAttention.apply(q, k, v, lengths, True, SCALE)
    assert kept == {each.data_ptr() for each in (q, k, v)}

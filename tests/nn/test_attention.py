"""Attention against the formula: who sees whom, and that grouped heads share keys and values."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from danlu.nn.attention import attend, causal_mask, document_mask
from danlu.nn.cache import KVCache
from danlu.nn.transformer import Transformer

MakeModel = Callable[..., Transformer]
FAMILIES = ["nanochat", "llama", "qwen3"]


def by_formula(q_BHTE: Tensor, k_BGSE: Tensor, v_BGSE: Tensor, mask_TS: Tensor) -> Tensor:
    groups = q_BHTE.shape[1] // k_BGSE.shape[1]
    k, v = k_BGSE.repeat_interleave(groups, 1), v_BGSE.repeat_interleave(groups, 1)
    scores = q_BHTE @ k.mT / q_BHTE.shape[-1] ** 0.5
    return scores.masked_fill(~mask_TS, -torch.inf).softmax(-1) @ v


@pytest.mark.parametrize("kv_heads", [1, 2, 6])
@pytest.mark.parametrize(("queries", "positions"), [(9, 9), (1, 9), (4, 9)])
def test_equals_the_formula(kv_heads: int, queries: int, positions: int) -> None:
    q = torch.randn(2, 6, queries, 8, dtype=torch.float64)
    k, v = (torch.randn(2, kv_heads, positions, 8, dtype=torch.float64) for _ in "kv")
    mask = torch.tensor([[s <= positions - queries + t for s in range(positions)] for t in range(queries)])
    assert torch.equal(causal_mask(queries, positions, device=q.device), mask)
    torch.testing.assert_close(attend(q, k, v), by_formula(q, k, v, mask), rtol=1e-10, atol=1e-12)


def test_documents_are_those_of_one_number() -> None:
    mask = document_mask(torch.tensor([[4, 4, 9, 9, 9]]))
    assert mask.int().tolist() == [
        [[[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 1, 1, 1]]]
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_no_gradient_comes_from_later_tokens_or_other_documents(family: str, make_model: MakeModel) -> None:
    model = make_model(family)
    tokens = torch.arange(20)[None]  # all different, so that a row of the gradient is a place
    segments = torch.tensor([[0] * 7 + [1] * 8 + [2] * 5])

    def places_seen(place: int, segments: Tensor | None) -> list[int]:
        model.zero_grad()
        model(tokens, segments=segments)[0, place].square().sum().backward()
        grad = model.embedding.weight.grad
        assert grad is not None
        return grad[:20].ne(0).any(1).nonzero().flatten().tolist()

    assert places_seen(11, None) == list(range(12))
    assert places_seen(11, segments) == list(range(7, 12))
    assert places_seen(3, segments) == list(range(4))


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_is_unpacked(family: str, make_model: MakeModel) -> None:
    model = make_model(family)
    parts = [torch.randint(0, 97, (1, length)) for length in (7, 1, 12, 5)]
    segments = torch.cat([torch.full_like(part, number) for number, part in enumerate(parts)], dim=1)
    packed = model.head(model(torch.cat(parts, dim=1), segments=segments))
    alone = torch.cat([model.head(model(part)) for part in parts], dim=1)
    torch.testing.assert_close(packed, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("steps", [[1] * 20, [13, 1, 1, 5], [20], [1, 19]])
def test_cached_is_uncached(family: str, steps: list[int], make_model: MakeModel) -> None:
    model = make_model(family)
    tokens = torch.randint(0, 97, (2, 20))
    cache = KVCache(model.config, batch=2, length=25, dtype=torch.float32)
    with torch.no_grad():
        cached = torch.cat([model(part, cache=cache) for part in tokens.split(steps, dim=1)], dim=1)
        torch.testing.assert_close(cached, model(tokens), rtol=1e-4, atol=1e-4)
    assert cache.used == 20

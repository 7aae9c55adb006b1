"""Attention against the formula: grouped heads, what layers add to it, and each way to the same result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.nn import attention as attention_module
from danlu.nn import config
from danlu.nn.attention import Attention, Context
from danlu.nn.patterns import BigBird, Fixed, Pattern, Strided, Window
from danlu.nn.positions import rotary_table, rotate
from danlu.nn.sight import PADDING, Sight
from danlu.nn.sparse import sparse_attention

DIM, HEADS, WIDTH = 20, 6, 8
CPU = torch.device("cpu")


def make(*, kv_heads: int = 2, max_length: int = 512, rotary: int | None = None, **fields: Any) -> Attention:
    settings = config.Attention(HEADS, kv_heads, WIDTH, bias=True, out_bias=True, **fields)
    layer = Attention(settings, DIM, rotary=rotary, max_length=max_length).double()
    for weight in layer.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return layer


def sight(length: int, *, causal: bool, segments: Tensor | None = None) -> Sight:
    pair = None if segments is None else (segments, segments)
    return Sight(queries=length, keys=length, causal=causal, own=True, device=CPU, segments=pair)


def heads_of(layer: Attention, x: Tensor, memory: Tensor | None = None) -> list[Tensor]:
    """Queries, keys and values, ``[B, heads, T, WIDTH]``, keys and values repeated for the queries that share them."""
    found = []
    beside = x if memory is None else memory
    for part, given in ((layer.query, x), (layer.key, beside), (layer.value, beside)):
        heads = torch.unflatten(given @ part.weight.T + part.bias, -1, (-1, WIDTH)).transpose(1, 2)
        found.append(heads.repeat_interleave(HEADS // heads.shape[1], 1))
    return found


def by_formula(layer: Attention, heads: Sequence[Tensor], mask: Tensor | None, scale: float = WIDTH**-0.5) -> Tensor:
    q, k, v = heads
    scores = q @ k.mT * scale
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    mixed = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
    return mixed @ layer.out.weight.T + layer.out.bias


@pytest.mark.parametrize("kv_heads", [1, 2, 6])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("scale", [None, 0.7])
def test_equals_the_formula(kv_heads: int, causal: bool, scale: float | None) -> None:
    layer = make(kv_heads=kv_heads, scale=scale)
    x = torch.randn(2, 9, DIM, dtype=torch.float64)
    mask = torch.tensor([[key <= query for key in range(9)] for query in range(9)]) if causal else None
    expected = by_formula(layer, heads_of(layer, x), mask, scale or WIDTH**-0.5)
    torch.testing.assert_close(layer(x, Context(sight(9, causal=causal))), expected, rtol=1e-10, atol=1e-12)


def test_queries_and_keys_are_normed_then_turned() -> None:
    layer = make(rotary=0, qk_norm=config.Norm("rms", 0.1))
    x = torch.randn(2, 9, DIM, dtype=torch.float64)
    table = rotary_table(config.Rotary(), WIDTH, end=9)
    q, k, v = heads_of(layer, x)
    q, k = (
        rotate(F.rms_norm(heads, (WIDTH,), norm.weight, 0.1), *table)  # type: ignore[arg-type]
        for heads, norm in ((q, layer.norm_q), (k, layer.norm_k))
    )
    expected = by_formula(layer, (q, k, v), torch.ones(9, 9).tril().bool())
    out = layer(x, Context(sight(9, causal=True), rotary=(table,)))
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-6)  # RMSNorm is computed in float32


@pytest.mark.parametrize("qk_norm", [None, config.Norm("layer", 0.1)])
@pytest.mark.parametrize("padded", [True, False])
def test_across_reads_the_encoder_s_output(qk_norm: config.Norm | None, padded: bool) -> None:
    layer = make(qk_norm=qk_norm)
    x, memory = (torch.randn(2, length, DIM, dtype=torch.float64) for length in (4, 7))
    segments = torch.tensor([[0] * 7, [0] * 5 + [PADDING] * 2])
    look_back = Sight(
        queries=4, keys=7, causal=False, own=False, device=CPU, segments=(None, segments) if padded else None
    )
    q, k, v = heads_of(layer, x, memory)
    if qk_norm is not None:
        q, k = layer.norm_q(q), layer.norm_k(k)
    mask = (segments != PADDING)[:, None, None, :] if padded else None
    context = Context(sight(4, causal=True), memory=memory, memory_sight=look_back)
    torch.testing.assert_close(layer.across(x, context), by_formula(layer, (q, k, v), mask), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("pattern", "packed"),
    [
        (Window(40), True), (Window(40), False), (Window(20, 20), True), (Window(20, 20), False),
        (BigBird(random=1), False),  # packed, its places are those of a document and not of the row
        (Strided(64), True), (Strided(64), False), (Fixed(64, 3), False),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("causal", [True, False])
def test_a_long_row_goes_by_blocks_and_comes_to_the_same(
    pattern: Pattern, causal: bool, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = make(pattern=pattern)
    length = 900
    x = torch.randn(2, length, DIM, dtype=torch.float64)
    segments = (torch.arange(length) // 333).expand(2, -1) if packed else None
    taken: list[int] = []

    def counted(*given: Any, **rest: Any) -> Tensor:
        taken.append(1)
        return sparse_attention(*given, **rest)

    monkeypatch.setattr("danlu.nn.sparse.COST", 1)
    monkeypatch.setattr(attention_module, "sparse_attention", counted)
    by_blocks = layer(x, Context(sight(length, causal=causal, segments=segments)))
    assert taken
    monkeypatch.setattr(attention_module, "touches_few", lambda *_, **__: False)
    whole = layer(x, Context(sight(length, causal=causal, segments=segments)))
    assert len(taken) == 1
    torch.testing.assert_close(by_blocks, whole, rtol=1e-10, atol=1e-12)


def test_a_linformer_mixes_keys_and_values_into_places() -> None:
    """``softmax(Q (E K)^T / sqrt(d)) (E V)`` (Wang et al. 2020, eq. 7), one E for all (section 4)."""
    layer = make(linformer=3, max_length=16)
    assert layer.places is not None
    assert layer.places.shape == (3, 16)
    x = torch.randn(2, 9, DIM, dtype=torch.float64)
    q, k, v = heads_of(layer, x)
    mix = layer.places[:, :9]
    expected = by_formula(layer, (q, mix @ k, mix @ v), None)
    out = layer(x, Context(sight(9, causal=False)))
    assert out.shape == (2, 9, DIM)
    torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-12)


def test_a_linformer_leaves_padding_out() -> None:
    layer = make(linformer=3, max_length=16)
    segments = torch.tensor([[0] * 6 + [PADDING] * 3, [0] * 9])
    x = torch.randn(2, 9, DIM, dtype=torch.float64)
    out = layer(x, Context(sight(9, causal=False, segments=segments)))
    other = x.clone()
    other[0, 6:] = 100.0
    again = layer(other, Context(sight(9, causal=False, segments=segments)))
    assert again[0, :6].equal(out[0, :6])
    alone = layer(x[:1, :6], Context(sight(6, causal=False)))
    torch.testing.assert_close(out[:1, :6], alone, rtol=1e-10, atol=1e-12)

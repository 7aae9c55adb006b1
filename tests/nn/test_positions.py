"""Rotary positions against transformers."""

from __future__ import annotations

import pytest
import torch
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb as turn_llama
from transformers.models.nanochat.modeling_nanochat import apply_rotary_pos_emb as turn_nanochat

from danlu.nn.positions import rotary_table, rotate


@pytest.mark.parametrize(("direction", "turn"), [(1, turn_llama), (-1, turn_nanochat)])
@pytest.mark.parametrize("theta", [10000.0, 77.0])
def test_equals_transformers(direction: int, turn: object, theta: float) -> None:
    rope = {"rope_type": "default", "rope_theta": theta}
    config = LlamaConfig(hidden_size=48, num_attention_heads=4, head_dim=10, rope_parameters=rope)
    q, k = torch.randn(2, 4, 33, 10), torch.randn(2, 2, 33, 10)
    cos, sin = LlamaRotaryEmbedding(config)(q, torch.arange(33)[None])
    expected_q, expected_k = turn(q, k, cos, sin)  # type: ignore[operator]
    table = rotary_table(33, 10, theta=theta, direction=direction)
    torch.testing.assert_close(rotate(q, *table), expected_q, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(rotate(k, *table), expected_k, rtol=1e-6, atol=1e-6)


def test_only_the_distance_counts() -> None:
    cos, sin = rotary_table(100, 8, theta=10000.0)
    q, k = torch.randn(8, dtype=torch.float64), torch.randn(8, dtype=torch.float64)

    def product(place_q: int, place_k: int) -> float:
        return float(rotate(q, cos[place_q], sin[place_q]) @ rotate(k, cos[place_k], sin[place_k]))

    assert product(9, 4) == pytest.approx(product(99, 94), abs=1e-5)
    assert product(9, 4) != pytest.approx(product(9, 5), abs=1e-3)

"""Positions against transformers, the papers' formulas and their own code."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb as turn_llama
from transformers.models.nanochat.modeling_nanochat import apply_rotary_pos_emb as turn_nanochat
from transformers.models.t5.modeling_t5 import T5Attention

from danlu.nn import config
from danlu.nn.positions import (
    AddedPositions,
    Alibi,
    RelativeBias,
    depends_on_length,
    rotary_table,
    rotate,
    sinusoidal_table,
)  # fmt: skip
from danlu.nn.transformer import Transformer


@pytest.mark.parametrize(("direction", "turn"), [(1, turn_llama), (-1, turn_nanochat)])
@pytest.mark.parametrize("theta", [10000.0, 77.0])
def test_equals_transformers(direction: Any, turn: Any, theta: float) -> None:
    rope = {"rope_type": "default", "rope_theta": theta}
    theirs = LlamaConfig(hidden_size=48, num_attention_heads=4, head_dim=10, rope_parameters=rope)
    q, k = torch.randn(2, 4, 33, 10), torch.randn(2, 2, 33, 10)
    cos, sin = LlamaRotaryEmbedding(theirs)(q, torch.arange(33)[None])
    expected_q, expected_k = turn(q, k, cos, sin)
    table = rotary_table(config.Rotary(theta, direction), 10, end=33)
    torch.testing.assert_close(rotate(q, *table), expected_q, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(rotate(k, *table), expected_k, rtol=1e-6, atol=1e-6)


def test_only_the_distance_counts() -> None:
    cos, sin = rotary_table(config.Rotary(), 8, end=100)
    q, k = torch.randn(8, dtype=torch.float64), torch.randn(8, dtype=torch.float64)

    def product(place_q: int, place_k: int) -> float:
        return float(rotate(q, cos[place_q], sin[place_q]) @ rotate(k, cos[place_k], sin[place_k]))

    assert product(9, 4) == pytest.approx(product(99, 94), abs=1e-5)
    assert product(9, 4) != pytest.approx(product(9, 5), abs=1e-3)


SCALINGS: list[tuple[dict[str, Any], config.Scaling]] = [
    ({"rope_type": "linear", "factor": 2.5}, config.Scaling("linear", 2.5, 64)),
    ({"rope_type": "dynamic", "factor": 3.0}, config.Scaling("ntk", 3.0, 64)),
    (
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
        config.Scaling("yarn", 4.0, 64, attention_factor=0.1 * np.log(4.0) + 1.0),
    ),
    (
        {
            "rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 64, "attention_factor": 0.7,
            "beta_fast": 5.0, "beta_slow": 0.5, "truncate": False,
        },
        config.Scaling("yarn", 8.0, 64, attention_factor=0.7, fast=5.0, slow=0.5, whole=False),
    ),
    (
        {
            "rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 64, "high_freq_factor": 4.0,
            "low_freq_factor": 1.0,
        },
        config.Scaling("llama3", 8.0, 64, fast=4.0, slow=1.0),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("rope", "scaling"), SCALINGS)
@pytest.mark.parametrize("length", [30, 200])
@pytest.mark.parametrize(("theta", "head_dim"), [(10000.0, 16), (500.0, 64), (1e6, 6)])
def test_scaled_positions_equal_transformers(
    rope: dict[str, Any], scaling: config.Scaling, length: int, theta: float, head_dim: int
) -> None:
    longest = 64 if rope["rope_type"] in ("linear", "dynamic") else 64 * int(rope["factor"])
    theirs = LlamaConfig(
        hidden_size=4 * head_dim, num_attention_heads=4, head_dim=head_dim, max_position_embeddings=longest,
        rope_parameters={**rope, "rope_theta": theta},
    )  # fmt: skip
    frequency, factor = ROPE_INIT_FUNCTIONS[rope["rope_type"]](theirs, torch.device("cpu"), seq_len=length)
    angle = torch.outer(torch.arange(length, dtype=torch.float32), frequency)
    cos, sin = rotary_table(config.Rotary(theta, scaling=scaling), head_dim, end=length)
    torch.testing.assert_close(cos, angle.cos() * factor, rtol=1e-5, atol=2e-5)
    torch.testing.assert_close(sin, angle.sin() * factor, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("scaling", [None, *(scaling for _, scaling in SCALINGS)])
def test_a_table_from_a_later_position_is_the_end_of_the_whole(scaling: config.Scaling | None) -> None:
    rotary = config.Rotary(scaling=scaling)
    for part, whole in zip(rotary_table(rotary, 8, start=70, end=90), rotary_table(rotary, 8, end=90), strict=True):
        torch.testing.assert_close(part, whole[70:], rtol=0, atol=0)


@pytest.mark.parametrize("scaling", [None, *(scaling for _, scaling in SCALINGS)])
def test_whether_the_table_depends_on_the_length(scaling: config.Scaling | None) -> None:
    rotary = config.Rotary(scaling=scaling)
    short, long = rotary_table(rotary, 8, end=100)[0], rotary_table(rotary, 8, end=200)[0][:100]
    assert depends_on_length(rotary) != short.equal(long)


@pytest.mark.parametrize(("length", "dim"), [(50, 16), (7, 6), (3, 5)])
def test_sinusoids(length: int, dim: int) -> None:
    """``PE(pos, 2i) = sin(pos / 10000^(2i/d))``, ``PE(pos, 2i+1) = cos(pos / 10000^(2i/d))`` (Vaswani et al. 2017)."""
    expected = np.array(
        [
            [(np.sin, np.cos)[place % 2](position / 10000 ** (2 * (place // 2) / dim)) for place in range(dim)]
            for position in range(length)
        ]
    )
    np.testing.assert_allclose(sinusoidal_table(length, dim).numpy(), expected, rtol=0, atol=1e-5)


def test_added_positions_are_rows_of_the_table_from_its_offset() -> None:
    learned = AddedPositions(config.Positions("learned", offset=2), length=9, dim=4)
    assert learned.weight.shape == (11, 4)
    torch.nn.init.normal_(learned.weight)
    assert learned(torch.tensor([[0, 5]])).equal(learned.weight[[2, 7]][None])
    sinusoids = AddedPositions(config.Positions("sinusoidal"), length=9, dim=4)
    assert sinusoids(torch.tensor([[3, 0]])).equal(sinusoidal_table(9, 4)[[3, 0]][None])
    assert list(sinusoids.parameters()) == []


@pytest.mark.parametrize("heads", [1, 2, 3, 6, 8, 12, 16, 20])
def test_alibi_equals_bloom(heads: int) -> None:
    """Up to a number for each query, which softmax does not see; 3, 6, 12 and 20 are no powers of two."""
    theirs = build_alibi_tensor(torch.ones(1, 30), heads, torch.float32).view(heads, 30)
    positions = torch.arange(30)
    ours = Alibi(heads=heads)(positions[20:], positions)
    assert ours.shape == (1, heads, 10, 30)
    for query, bias in enumerate(ours[0].transpose(0, 1), start=20):
        torch.testing.assert_close((bias - bias[:, :1])[:, : query + 1], theirs[:, : query + 1], rtol=1e-5, atol=1e-5)
        assert bias[:, query].eq(0).all()


def test_alibi_falls_on_both_sides() -> None:
    positions = torch.arange(5)
    bias = Alibi(heads=8)(positions, positions)[0]
    assert bias.equal(bias.mT)
    assert bias[0, 1].tolist() == [-0.5, 0.0, -0.5, -1.0, -1.5]  # the first of 8 slopes is 1/2


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(
    ("buckets", "longest"), [(32, 128), (10, 20), (16, 64), (64, 512), (6, 100), (32, 127), (64, 50)]
)
def test_relative_bias_equals_t5(causal: bool, buckets: int, longest: int) -> None:
    bias = RelativeBias(config.RelativeBias(buckets, longest), heads=3, causal=causal)
    torch.nn.init.normal_(bias.weight)
    positions = torch.arange(1400)
    distance = positions[None, :] - positions[700:702, None]
    theirs = T5Attention._relative_position_bucket(distance, not causal, buckets, longest)
    expected = bias.weight[theirs].permute(2, 0, 1)[None]
    assert bias(positions[700:702], positions).equal(expected)


def test_sinusoidal_positions_survive_being_built_without_memory(make_model: Callable[..., Transformer]) -> None:
    plain = make_model("llama").config
    assert plain.decoder is not None
    entry = config.Entry(config.Positions("sinusoidal", offset=2))
    settings = dataclasses.replace(plain, decoder=dataclasses.replace(plain.decoder, entry=entry))
    built = Transformer(settings)
    built.initialise(1)
    with torch.device("meta"):
        again = Transformer(settings)
    again.load_state_dict(built.state_dict(), assign=True)
    again.set_rotary()
    tokens = torch.arange(plain.max_length)[None]  # the last row of the table too
    assert torch.equal(again(tokens), built(tokens))
    assert again.bfloat16()(tokens).dtype == torch.bfloat16

"""Which parameters of which models decay, and which are matrices."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from danlu.nn.config import (
    MLP,
    Attention,
    Entry,
    Experts,
    Layer,
    Norm,
    Positions,
    RelativeBias,
    Stack,
    TransformerConfig,
)  # fmt: skip
from danlu.nn.transformer import Transformer
from danlu.optim.protocol import decay_groups, decays, is_matrix


@pytest.fixture
def model() -> Transformer:
    """Biases, gains, experts, a table of positions, one of token types, one of relative positions."""
    attention = Attention(heads=2, kv_heads=2, head_dim=4, bias=True)
    norm = Norm("layer", 1e-5, bias=True)
    layers = (Layer(attention, MLP(12, "gelu", bias=True)), Layer(attention, Experts(3, 2, 6)))
    encoder = Stack(
        layers=layers, norm=norm, causal=False, entry=Entry(positions=Positions("learned"), types=2, norm=norm),
        bias=RelativeBias(8, 16),
    )  # fmt: skip
    return Transformer(TransformerConfig(family="x", vocab_size=9, dim=8, max_length=6, encoder=encoder))


def names(model: nn.Module, parameters: list[torch.Tensor]) -> set[str]:
    known = {id(parameter): name for name, parameter in model.named_parameters()}
    return {known[id(parameter)] for parameter in parameters}


LINEARS = {"query", "key", "value", "out"}


def test_matrices_decay_and_nothing_else(model: Transformer) -> None:
    decayed, spared = decay_groups(model.named_parameters(), lr=0.3, weight_decay=0.2)
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.2, 0.0)
    assert decayed["lr_scale"] == spared["lr_scale"] == 0.3
    assert names(model, decayed["params"]) == {
        "embedding.weight", "head.weight",
        *(f"encoder.blocks.{block}.attention.{name}.weight" for block in (0, 1) for name in LINEARS),
        "encoder.blocks.0.mlp.up.weight", "encoder.blocks.0.mlp.down.weight",
        "encoder.blocks.1.mlp.router.weight", "encoder.blocks.1.mlp.up", "encoder.blocks.1.mlp.down",
    }  # fmt: skip
    tables = {name for name in names(model, spared["params"]) if model.get_parameter(name).ndim > 1}
    assert tables == {"encoder.entry.positions.weight", "encoder.entry.types.weight", "encoder.bias.weight"}
    assert len(decayed["params"]) + len(spared["params"]) == len(list(model.parameters()))


def test_a_group_of_none_is_left_out() -> None:
    weight = nn.Parameter(torch.ones(3, 3))
    assert len(decay_groups([("embedding.weight", weight)], lr=1.0, weight_decay=0.0)) == 1


def test_matrices_of_blocks_are_those_of_experts_too(model: Transformer) -> None:
    matrices = {name for name, weight in model.named_parameters() if is_matrix(name, weight)}
    inside = {name for name, weight in model.named_parameters() if decays(name, weight) and "blocks." in name}
    assert matrices == inside

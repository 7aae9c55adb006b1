"""A block against torch's own layers, norm before and after; what dropout leaves of it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from danlu.nn import config
from danlu.nn.attention import Attention, Context
from danlu.nn.block import Block
from danlu.nn.sight import Sight

DIM, HEADS, HIDDEN = 12, 3, 20
ATTENTION = config.Attention(HEADS, HEADS, DIM // HEADS, bias=True, out_bias=True)
Copies = list[tuple[Any, nn.Module]]


def make(
    *, number: int = 1, cross: bool = False, attention_dropout: float = 0.0, mlp_dropout: float = 0.0, **fields: Any
) -> Block:
    """The block ``number`` of three, with random weights."""
    attention = dataclasses.replace(ATTENTION, dropout=attention_dropout)
    mlp = config.MLP(HIDDEN, "gelu", bias=True, dropout=mlp_dropout)
    layer = config.Layer(attention, mlp, cross=ATTENTION if cross else None)
    norm = config.Norm("layer", 1e-5, bias=True)
    stack = config.Stack(layers=(layer,) * 3, norm=norm, causal=True, **fields)
    block = Block(stack, layer, DIM, number=number, rotary=None, max_length=16)
    for weight in block.parameters():
        nn.init.normal_(weight, std=0.3)
    return block


def context(length: int, memory: Tensor | None = None) -> Context:
    device = torch.device("cpu")
    sight = Sight(queries=length, keys=length, causal=True, own=True, device=device)
    if memory is None:
        return Context(sight)
    look_back = Sight(queries=length, keys=memory.shape[1], causal=False, own=False, device=device)
    return Context(sight, memory=memory, memory_sight=look_back)


def copy_attention(ours: Attention, theirs: nn.MultiheadAttention) -> None:
    parts = [ours.query, ours.key, ours.value]
    assert theirs.in_proj_weight is not None
    theirs.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
    theirs.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
    theirs.out_proj.load_state_dict(ours.out.state_dict())


def copy_modules(pairs: Copies) -> None:
    for ours, theirs in pairs:
        theirs.load_state_dict(ours.state_dict())


@pytest.mark.parametrize("place", ["pre", "post"])
def test_equals_torch_s_encoder_layer(place: str) -> None:
    block = make(place=place)
    theirs = nn.TransformerEncoderLayer(
        DIM, HEADS, HIDDEN, dropout=0.0, activation="gelu", batch_first=True, norm_first=place == "pre"
    )
    with torch.no_grad():
        copy_attention(block.attention, theirs.self_attn)
        copy_modules(
            [
                (block.norm_attention, theirs.norm1), (block.norm_mlp, theirs.norm2),
                (block.mlp.up, theirs.linear1), (block.mlp.down, theirs.linear2),
            ]
        )  # fmt: skip
    x = torch.randn(2, 7, DIM)
    mask = nn.Transformer.generate_square_subsequent_mask(7)
    torch.testing.assert_close(block(x, context(7)), theirs(x, src_mask=mask), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("place", ["pre", "post"])
def test_equals_torch_s_decoder_layer(place: str) -> None:
    block = make(place=place, cross=True)
    assert block.cross is not None
    theirs = nn.TransformerDecoderLayer(
        DIM, HEADS, HIDDEN, dropout=0.0, activation="gelu", batch_first=True, norm_first=place == "pre"
    )
    with torch.no_grad():
        copy_attention(block.attention, theirs.self_attn)
        copy_attention(block.cross, theirs.multihead_attn)
        copy_modules(
            [
                (block.norm_attention, theirs.norm1), (block.norm_cross, theirs.norm2), (block.norm_mlp, theirs.norm3),
                (block.mlp.up, theirs.linear1), (block.mlp.down, theirs.linear2),
            ]
        )  # fmt: skip
    x, memory = torch.randn(2, 7, DIM), torch.randn(2, 5, DIM)
    mask = nn.Transformer.generate_square_subsequent_mask(7)
    torch.testing.assert_close(block(x, context(7, memory)), theirs(x, memory, tgt_mask=mask), rtol=1e-5, atol=1e-5)


def test_a_layer_without_its_first_norm() -> None:
    layer = config.Layer(ATTENTION, config.MLP(HIDDEN, "gelu"), first_norm=False)
    stack = config.Stack(layers=(layer,), norm=config.Norm("layer"), causal=True)
    block = Block(stack, layer, DIM, number=0, rotary=None, max_length=16)
    for weight in block.parameters():
        nn.init.normal_(weight, std=0.3)
    x = torch.randn(1, 4, DIM)
    seen: list[Tensor] = []
    block.attention.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    block(x, context(4))
    assert seen[0].equal(x)


def without_mlp(block: Block) -> Block:
    """What is left of the block's output beyond its input is attention's part."""
    with torch.no_grad():
        for weight in block.mlp.down.parameters():  # type: ignore[union-attr]
            weight.zero_()
    return block


@pytest.mark.parametrize(("number", "share"), [(0, 0.0), (1, 0.3), (2, 0.6)])
def test_drop_path_drops_whole_rows_and_keeps_the_expectation(number: int, share: float) -> None:
    """The share rises over the layers (Huang et al. 2016, section 3); what is kept is scaled up."""
    block = without_mlp(make(number=number, drop_path=0.6))
    x = torch.randn(1, 5, DIM).expand(4000, -1, -1)
    whole = (block.eval()(x[:1], context(5)) - x[:1])[0]
    parts = block.train()(x, context(5)) - x
    kept = parts.ne(0).flatten(1).any(1)
    torch.testing.assert_close(parts[kept], (whole / (1 - share)).expand(int(kept.sum()), -1, -1), rtol=1e-4, atol=1e-5)
    assert abs(kept.double().mean().item() - (1 - share)) < 4 * math.sqrt(share * (1 - share) / 4000) + 1e-9
    torch.testing.assert_close(parts.mean(0), whole, rtol=0.1, atol=1e-5)


def test_dropout_drops_single_numbers_and_keeps_the_expectation() -> None:
    block = without_mlp(make(dropout=0.25))
    x = torch.randn(1, 5, DIM).expand(4000, -1, -1)
    whole = (block.eval()(x[:1], context(5)) - x[:1])[0]
    parts = block.train()(x, context(5)) - x
    dropped = parts.abs() < 1e-6
    assert dropped.double().mean().item() == pytest.approx(0.25, abs=0.01)
    assert not dropped.flatten(1).all(1).any()
    torch.testing.assert_close(parts[~dropped], (whole / 0.75).expand_as(parts)[~dropped], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "kind", [{"dropout": 0.5}, {"drop_path": 0.9}, {"attention_dropout": 0.5}, {"mlp_dropout": 0.5}], ids=str
)
def test_nothing_is_dropped_but_in_training(kind: dict[str, float]) -> None:
    torch.manual_seed(1)
    plain = make()
    torch.manual_seed(1)
    block = make(**kind)  # type: ignore[arg-type]
    x = torch.randn(8, 5, DIM)
    assert block.eval()(x, context(5)).equal(plain(x, context(5)))
    first, second = (block.train()(x, context(5)) for _ in range(2))
    assert not first.equal(second)


def test_attention_dropout_keeps_the_expectation() -> None:
    """Of the weights, so that the rest of them is scaled up: the mean over many draws is what evaluation gives."""
    block = without_mlp(make(attention_dropout=0.3))
    x = torch.randn(1, 5, DIM).expand(6000, -1, -1)
    whole = block.eval()(x[:1], context(5))[0]
    assert (block.train()(x, context(5)).mean(0) - whole).abs().max() < 0.05 * (whole - x[0]).abs().max()

"""Parts that do not fit each other are refused when the config is made; and which head makes words."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from danlu.errors import RecipeError
from danlu.nn import config
from danlu.nn.config import MLP, Attention, Experts, Head, Labels, Layer, Norm, Pretraining, Rotary, Stack
from danlu.nn.patterns import Window

PLAIN = Attention(4, 4, 8)
ROTARY = Attention(4, 4, 8, rotary=Rotary())


def layer(**attention: Any) -> Layer:
    return Layer(dataclasses.replace(PLAIN, **attention), MLP(9, "relu"))


@pytest.mark.parametrize(
    ("made", "line"),
    [
        (lambda: Attention(4, 3, 8), "kv_heads must divide heads (4); got 3"),
        (lambda: Attention(4, 4, 9, rotary=Rotary()), "head_dim must be even for rotary positions; got 9"),
        (lambda: Experts(4, 5, 9), "per_token must be between 1 and the number of experts (4); got 5"),
        (lambda: Experts(4, 0, 9), "per_token must be between 1 and the number of experts (4); got 0"),
        (
            lambda: dataclasses.replace(PLAIN, linformer=3, pattern=Window(4)),
            "a Linformer's pattern must be full; got Window",
        ),
        (
            lambda: Layer(PLAIN, MLP(9, "relu"), cross=ROTARY),
            "attention to the encoder's output has neither rotary positions nor a Linformer's places",
        ),
        (
            lambda: Stack((layer(linformer=3),), Norm(), causal=True),
            "a Linformer mixes positions: its stack must be bidirectional and have no bias of scores",
        ),
        (
            lambda: Stack((layer(linformer=3),), Norm(), causal=False, bias=config.Alibi()),
            "a Linformer mixes positions: its stack must be bidirectional and have no bias of scores",
        ),
        (
            lambda: Stack((layer(), layer(heads=2, kv_heads=2)), Norm(), causal=True, bias=config.Alibi()),
            "heads must be the same in all layers, for they share a bias of scores",
        ),
    ],
)
def test_what_does_not_fit_is_told(made: Any, line: str) -> None:
    with pytest.raises(RecipeError) as caught:
        made()
    assert str(caught.value) == line


def test_an_odd_head_is_fine_where_nothing_turns() -> None:
    assert Attention(4, 4, 9).head_dim == 9


def test_the_words_are_the_head_or_one_of_two() -> None:
    stack = Stack((layer(),), Norm(), causal=False)
    known = config.TransformerConfig(family="x", vocab_size=9, dim=32, max_length=8, encoder=stack)
    pair = Labels(2, pooling="first", pair=True)
    two = dataclasses.replace(known, head=Pretraining(Head(tied=True), pair))
    assert (known.words, known.tied, known.words_weight) == (Head(), False, "head.weight")
    assert (two.words, two.tied, two.words_weight) == (Head(tied=True), True, "head.words.weight")
    assert dataclasses.replace(known, head=pair).words is None
    assert not dataclasses.replace(known, head=pair).tied


def test_the_head_reads_the_decoder_where_there_is_one() -> None:
    below, above = (Stack((layer(),), Norm(), causal=causal) for causal in (False, True))
    known = config.TransformerConfig(family="x", vocab_size=9, dim=32, max_length=8, encoder=below)
    assert known.stack is below
    assert dataclasses.replace(known, decoder=above).stack is above


def test_no_record_has_more_than_twenty_fields() -> None:
    records = [each for each in vars(config).values() if isinstance(each, type) and dataclasses.is_dataclass(each)]
    assert len(records) > 10
    assert max(len(dataclasses.fields(record)) for record in records) <= 20

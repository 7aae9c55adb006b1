"""Sizes that fit each other, and those that do not: told when the recipe is loaded."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from danlu.errors import RecipeError
from danlu.nn.families import GPT, Llama, Qwen3
from danlu.nn.transformer import Transformer
from danlu.recipe import build_choice

FAMILIES = ["gpt", "llama", "qwen3"]
WIDTH = "divided by heads must be an even whole number, or head_dim be given; got heads"


def built(family: str, **sizes: Any) -> Any:
    return build_choice("model", {"use": family, **sizes}, key="pretrain.model")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("sizes", "line"),
    [
        ({"dim": 256, "heads": 5}, f"dim (256) {WIDTH} 5"),
        ({"dim": 36, "heads": 4}, f"dim (36) {WIDTH} 4"),
        (
            {"dim": 257},
            f"dim (257) {WIDTH} 2 (the default)",
        ),
        ({"dim": 64, "heads": 4, "kv_heads": 3}, "kv_heads must divide heads (4); got 3"),
        ({"dim": 64, "head_dim": 9}, "head_dim must be even for rotary positions; got 9"),
    ],
)
def test_sizes_that_do_not_fit_are_told_with_the_recipe(family: str, sizes: dict[str, int], line: str) -> None:
    with pytest.raises(RecipeError) as caught:
        built(family, **sizes)
    assert str(caught.value) == f"pretrain.model: {line}"


def test_heads_of_llama_must_divide_the_width_though_they_have_one_of_their_own() -> None:
    with pytest.raises(RecipeError, match=r"^pretrain\.model: heads must divide dim \(64\); got 3$"):
        built("llama", dim=64, heads=3, head_dim=8)
    for choice in (GPT, Qwen3):
        config = choice(dim=64, heads=3, head_dim=8).config(vocab_size=50, max_length=16)
        assert Transformer(config)(torch.zeros(1, 4, dtype=torch.long)).shape == (1, 4, 64)


def test_a_config_from_elsewhere_is_held_to_the_same() -> None:
    attention = Llama(dim=64, heads=4).config(vocab_size=50, max_length=16).stack.layers[0].attention
    with pytest.raises(RecipeError, match=r"^kv_heads must divide heads \(4\); got 3$"):
        dataclasses.replace(attention, kv_heads=3)
    with pytest.raises(RecipeError, match=r"^head_dim must be even for rotary positions; got 9$"):
        dataclasses.replace(attention, head_dim=9)

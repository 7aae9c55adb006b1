"""How many layers multiply in 8 bits is told, and that none does is no training in silence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from danlu.errors import RecipeError
from danlu.nn import speed
from danlu.nn.config import Head, Labels, Pretraining
from danlu.nn.families import GPT, Family
from danlu.nn.float8 import Float8Linear
from danlu.nn.int8 import Int8Linear
from danlu.nn.int8_head import Int8LanguageModelHead
from danlu.nn.transformer import Transformer
from danlu.train.eight_bits import in_eight_bits
from danlu.train.setup import Training


def model(**settings: int) -> Transformer:
    return Transformer(GPT(layers=2, heads=2, **settings).config(vocab_size=20, max_length=8))


@pytest.mark.parametrize(
    ("settings", "words", "layers"),
    [
        ({"dim": 32}, " (12 layers)", 12),
        ({"dim": 32, "hidden": 100}, " (8 of 12 layers, by their sizes)", 8),
    ],
)
def test_of_float8_it_is_told_how_many(settings: dict[str, int], words: str, layers: int) -> None:
    made = model(**settings)
    assert in_eight_bits(made, "fp8", section="pretrain") == words
    assert sum(isinstance(layer, Float8Linear) for layer in made.modules()) == layers


def test_int8_takes_all_of_them() -> None:
    made = model(dim=40)
    assert in_eight_bits(made, "int8", section="pretrain") == " (12 layers and the head)"
    assert sum(isinstance(layer, Int8Linear) for layer in made.modules()) == 12
    assert isinstance(made.head, Int8LanguageModelHead)


def test_heads_of_pairs_and_labels_stay_and_one_of_words_beside_does_not() -> None:
    shape = GPT(layers=2, dim=40, heads=2).config(vocab_size=20, max_length=8)
    labels = Labels(2, pooling="last")
    both = Transformer(replace(shape, head=Pretraining(words=Head(), pair=labels)))
    assert in_eight_bits(both, "int8", section="pretrain") == " (12 layers and the head)"
    assert isinstance(both.head.words, Int8LanguageModelHead)
    single = Transformer(replace(shape, head=labels))
    head = type(single.head)
    assert in_eight_bits(single, "int8", section="finetune") == " (12 layers)"
    assert type(single.head) is head


def test_other_precisions_leave_the_layers_alone() -> None:
    made = model(dim=32)
    before = {type(layer) for layer in made.modules()}
    assert in_eight_bits(made, "bf16", section="pretrain") == ""
    assert {type(layer) for layer in made.modules()} == before


@pytest.mark.parametrize("family", [GPT(layers=2, dim=40, heads=2)])
def test_a_training_of_which_nothing_would_be_float8_is_refused(
    family: Family, make_training: Callable[..., Training], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "why_no_float8", lambda: None)
    with pytest.raises(
        RecipeError,
        match=r"^pretrain\.precision fp8 needs layers whose sizes are multiples of 16; none of the 12 of the blocks "
        r"is one \(choices for others: auto, bf16, fp16, fp32\)$",
    ):
        make_training(model=family, precision="fp8")
    known = make_training(model=GPT(layers=2, dim=32, heads=2), precision="fp8")
    assert known.precision == "fp8: as asked, products of blocks; bf16 elsewhere (12 layers)"

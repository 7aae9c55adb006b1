"""Planted errors in the tags of names, against seqeval's entities, and what is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from danlu.data.entity_findings import _spans, odd_entities
from danlu.data.example import Place
from danlu.data.tagged import Tagged

entities = st.lists(st.tuples(st.sampled_from(["PER", "LOC", "O"]), st.integers(1, 3)), max_size=6)


def tagged(*sentences: str, file: str = "a.conll") -> list[Tagged]:
    """``Ann/B-PER went``: a token a word, ``O`` where it does not say."""
    found = []
    for number, sentence in enumerate(sentences, 1):
        parts = [word.partition("/") for word in sentence.split()]
        tokens, tags = tuple(part[0] for part in parts), tuple(part[2] or "O" for part in parts)
        found.append(
            Tagged(Place(Path(file), number), tokens, tags, tuple(range(number * 10, number * 10 + len(tags))))
        )
    return found


@given(entities, st.sampled_from(["BIO", "BIOES", "IO"]))
def test_entities_are_those_of_seqeval(parts: list[tuple[str, int]], scheme: str) -> None:
    tags = [tag for kind, size in parts for tag in written(kind, size, scheme)]
    assert _spans(tags, scheme) == [(kind, first, last + 1) for kind, first, last in get_entities(tags)]  # type: ignore[arg-type]


def written(kind: str, size: int, scheme: str) -> list[str]:
    if kind == "O":
        return ["O"] * size
    if scheme == "IO":
        return [f"I-{kind}"] * size
    if scheme == "BIO":
        return [f"B-{kind}", *[f"I-{kind}"] * (size - 1)]
    return [f"S-{kind}"] if size == 1 else [f"B-{kind}", *[f"I-{kind}"] * (size - 2), f"E-{kind}"]


RIGHT = [f"Ann/B-PER saw New/B-LOC York/I-LOC {number}" for number in range(24)]


def test_a_name_that_is_another_kind_or_none_in_one_place() -> None:
    train = tagged(*RIGHT, "Ann/B-LOC ran", "so Ann said", "in New York now")
    test = tagged("the New/B-PER York/I-PER fair", file="b.conll")
    odd, spoilt = odd_entities({"train": train, "dev": tagged(*RIGHT[:2]), "test": test})
    assert (odd.kind, odd.count, odd.of) == ("entity", 3, 49)
    assert str(odd) == (
        "train: 3 places are tagged unlike nearly all others of the same name: 'Ann', 26 times PER, is LOC in a.conll, "
        "line 250; 'Ann', 26 times PER, is no entity in a.conll, line 261; 'New York', 26 times LOC, is no entity in "
        "a.conll, line 271"
    )
    assert (spoilt.splits, spoilt.count, spoilt.of) == (("test",), 1, 1)
    assert str(spoilt) == (
        "test: 1 place is tagged unlike nearly all others of the same name: 'New York', 26 times LOC, is PER in "
        "b.conll, line 11"
    )


@pytest.mark.parametrize("more", [
    [],
    ["Ann/B-ORG Taylor/I-ORG made it"],  # a part of a longer name
    ["Ann/B-LOC ran"] * 3,  # may well be both
    ["anna saw new york"],
])  # fmt: skip
def test_names_that_may_be_right(more: list[str]) -> None:
    assert not list(odd_entities({"train": tagged(*RIGHT, *more)}))


def test_few_places_single_signs_numbers_and_parts_of_speech_say_nothing() -> None:
    few = ["Bob/B-PER ran"] * 9 + ["Bob ran"]
    signs = ["王/B-PER 来 了"] * 30 + ["王 来 了"]
    numbers = ["1984/B-DATE was it"] * 30 + ["1984 was it"]
    speech = ["that/DET dog/NOUN"] * 30 + ["that/PRON dog/NOUN"]
    for sentences in (few, signs, numbers, speech):
        assert not list(odd_entities({"train": tagged(*sentences)}))


def test_a_chinese_name_in_characters() -> None:
    right = ["王/B-PER 明/I-PER 在 北/B-LOC 京/I-LOC"] * 10
    (odd,) = odd_entities({"train": tagged(*right, "北/B-PER 京/I-PER 很 大")})
    assert "'北京', 10 times LOC, is PER in a.conll, line 110" in str(odd)

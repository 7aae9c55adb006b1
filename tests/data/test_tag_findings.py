"""Planted errors in the tags of words, which are no entities, against their definition, and what is none."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.data import tag_findings
from danlu.data.example import Place
from danlu.data.findings import look
from danlu.data.tag_findings import odd_tags
from danlu.data.tagged import Tagged


def tagged(*sentences: str, file: str = "a.conll") -> list[Tagged]:
    """``that/DET dog/NOUN``: a token a word."""
    found = []
    for number, sentence in enumerate(sentences, 1):
        parts = [word.partition("/") for word in sentence.split()]
        lines = tuple(range(number * 10, number * 10 + len(parts)))
        tokens, tags = tuple(part[0] for part in parts), tuple(part[2] for part in parts)
        found.append(Tagged(Place(Path(file), number), tokens, tags, lines))
    return found


RIGHT = [f"the/DET dog/NOUN saw/VERB {number}/NUM ,/PUNCT" for number in range(60)]


def test_a_word_with_another_tag_in_one_place() -> None:
    train, test = tagged(*RIGHT, "a/DET dog/VERB ran/VERB"), tagged("the/NOUN end/NOUN", file="b.conll")
    odd, spoilt = odd_tags({"train": train, "test": test})
    assert (odd.kind, odd.count, odd.of) == ("tag", 1, 303)
    assert str(odd) == (
        "train: 1 place is tagged unlike nearly all others of the same word: 'dog', 60 times NOUN, is VERB in "
        "a.conll, line 611"
    )
    assert (spoilt.splits, spoilt.count, spoilt.of) == (("test",), 1, 2)
    assert str(spoilt) == (
        "test: 1 place is tagged unlike nearly all others of the same word: 'the', 60 times DET, is NOUN in "
        "b.conll, line 10"
    )
    assert {odd, spoilt} <= set(look({"train": train, "test": test}))


@pytest.mark.parametrize("more", [
    [],
    ["the/DET dog/VERB"] * 2,  # 2 of 62: may well be both
    ["cat/NOUN ran/VERB"] * 29 + ["cat/VERB ran/VERB"],  # hardly ever there
    ["Dog/VERB"],
])  # fmt: skip
def test_words_that_may_be_right(more: list[str]) -> None:
    assert not list(odd_tags({"train": tagged(*RIGHT, *more)}))


def test_what_most_words_have_is_not_theirs() -> None:
    """As where signs are to be put back: nothing, and behind a few words a comma."""
    sentences = ["so/- we/- went/- on/- and/- on/,"] * 60 + ["so/, we/- went/- on/-"]
    assert not list(odd_tags({"train": tagged(*sentences)}))


def test_entities_are_told_as_such() -> None:
    assert not list(odd_tags({"train": tagged(*["in/O Bonn/B-LOC it/O is/O"] * 60, "Bonn/B-PER ran/O so/O")}))


words = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("XYZ")), min_size=1, max_size=40)


@given(words)
def test_odd_places_are_those_of_the_definition(pairs: list[tuple[str, str]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tag_findings, "OFTEN", 3)
        patch.setattr(tag_findings, "SHARE", 0.75)
        found = list(odd_tags({"train": tagged(*(f"{word}/{tag}" for word, tag in pairs))}))
    wanted = 0
    for word, tag in pairs:
        tags = [other for same, other in pairs if same == word]
        (usual, count), *_ = Counter(tags).most_common(1)
        common = sum(other == usual for _, other in pairs) / len(pairs)
        wanted += tag != usual and count >= 3 and count / len(tags) >= 0.75 and common <= 0.5
    assert sum(each.count for each in found) == wanted

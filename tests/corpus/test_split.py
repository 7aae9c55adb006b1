"""Splits: the same text on the same side, the tail as nanoGPT cuts it, nothing lost."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.corpus.split import HashSplit, TailSplit
from danlu.errors import RecipeError
from danlu.recipe import build_choice
from danlu.text.document import Document

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


@given(text=TEXTS, name=st.text(max_size=5), fraction=st.floats(0.01, 0.99))
def test_hash_looks_at_the_text_only(text: str, name: str, fraction: float) -> None:
    split = HashSplit(fraction=fraction)
    [(part, document)] = split.parts(Document("first", text))
    [(again, _)] = split.parts(Document(name, text, {"language": "zh", "source": name}))
    assert part == again
    assert document.text == text


def test_hash_holds_out_its_share() -> None:
    numbers = [next(HashSplit(fraction=0.1).parts(Document(str(n), f"document {n}")))[0] for n in range(10_000)]
    assert 900 < numbers.count("heldout") < 1100  # 3.3 standard deviations


@given(text=TEXTS, small=st.floats(0.01, 0.98), more=st.floats(0.0, 0.5))
def test_a_larger_fraction_holds_out_what_a_smaller_one_did(text: str, small: float, more: float) -> None:
    [(part, _)] = HashSplit(fraction=small).parts(Document("a", text))
    [(larger, _)] = HashSplit(fraction=min(0.99, small + more)).parts(Document("a", text))
    assert part == "train" or larger == "heldout"


def test_tail_is_nanogpts_split() -> None:
    randoms = random.Random(1)
    for length in [*range(1, 200), 1_115_394]:
        data = "".join(randoms.choices("ab言 \n", k=length))
        n = len(data)  # these three lines are data/shakespeare_char/prepare.py
        train_data = data[: int(n * 0.9)]
        val_data = data[int(n * 0.9) :]
        parts = {part: document.text for part, document in TailSplit(fraction=0.1).parts(Document("a", data))}
        assert parts.get("train", "") == train_data
        assert parts["heldout"] == val_data


@given(text=TEXTS, fraction=st.floats(0.01, 0.99))
def test_tail_loses_nothing_and_makes_no_empty_document(text: str, fraction: float) -> None:
    pieces = list(TailSplit(fraction=fraction).parts(Document("a#0", text, {"language": "en"})))
    assert "".join(piece.text for _, piece in pieces) == text
    assert all(piece.text and piece.id == "a#0" and piece.meta == {"language": "en"} for _, piece in pieces)
    assert [part for part, _ in pieces] in (["train", "heldout"], ["train"], ["heldout"], [])


@pytest.mark.parametrize("name", ["hash", "tail"])
@pytest.mark.parametrize("fraction", [0, 1, -0.1, 2, float("nan")])
def test_a_part_without_text_cannot_be_asked_for(name: str, fraction: float) -> None:
    with pytest.raises(RecipeError, match=r"^pack.split.fraction must be [^\n]*$"):
        build_choice("split", {"use": name, "fraction": fraction}, key="pack.split")

"""Splits: the same text on the same side, the tail as nanoGPT cuts it, nothing lost."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.corpus.split import PARTS, HashSplit, TailSplit
from danlu.corpus.store import TokenStore
from danlu.errors import RecipeError
from danlu.recipe import build_choice, load_recipe
from danlu.runs import run_stages
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


def test_near_duplicates_are_kept_apart_by_clean_alone(tmp_path: Path) -> None:
    """As the guide to packing says: a hash of the text sends copies that differ by a word to any side."""
    draw = random.Random(5)
    words = ["".join(draw.choices("etaoinshrdlu", k=draw.randint(3, 9))) for _ in range(2000)]
    texts = [draw.choices(words, k=80) for _ in range(60)]
    lines = [json.dumps({"text": " ".join([*text[:number], f"word{copy}", *text[number:]])}) for number, text in
             enumerate(texts) for copy in range(2)]  # fmt: skip
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    both = {}
    for name, duplicates in (("exact", ["exact"]), ("minhash", ["exact", "minhash"])):
        recipe = {
            "run_dir": str(tmp_path / name),
            "clean": {"sources": [str(tmp_path / "a.jsonl")], "rules": [], "duplicates": duplicates},
            "tokenizer": "char", "pack": {"split": {"use": "hash", "fraction": 0.3}},
        }  # fmt: skip
        (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
        run = run_stages(load_recipe(tmp_path / "recipe.yaml"), ["clean", "tokenizer", "pack"])
        of = {part: {int(id.partition("#")[2].partition(".")[0]) // 2 for id in _ids(run.stage("pack") / part)}
              for part in PARTS}  # fmt: skip
        assert of["train"] | of["heldout"] == set(range(60))
        both[name] = len(of["train"] & of["heldout"])
    assert both["exact"] > 10 and both["minhash"] == 0


def _ids(folder: Path) -> list[str]:
    return [each["id"] for each in TokenStore.open(folder).documents]

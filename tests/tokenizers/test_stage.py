"""The stage ``tokenizer``, from a recipe to a folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from danlu.recipe import load_recipe, plain, settings_schema
from danlu.runs import run_stages
from danlu.text.document import Document
from danlu.tokenizers.stage import TrainTokenizer, sample
from danlu.tokenizers.tokenizer import Tokenizer


def write_recipe(folder: Path, tokenizer: object) -> Path:
    (folder / "text").mkdir(exist_ok=True)
    (folder / "text/en.txt").write_text("It was the best of times, it was the worst of times.\n")
    (folder / "text/zh.txt").write_text("话说天下大势，分久必合，合久必分。\n")
    recipe = {
        "run_dir": str(folder / "run"),
        "clean": {"sources": [{"path": str(folder / "text/en.txt"), "language": "en"}, str(folder / "text/zh.txt")]},
        "tokenizer": tokenizer,
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


@pytest.mark.parametrize(
    ("section", "vocab_size", "names"),
    [
        ({"use": "bpe", "vocab_size": 270}, 270, ["bytes_per_token", "tokens_per"]),
        ("char", 31, ["bytes_per_token", "tokens_per", "unknown_rate"]),
    ],
)
def test_a_recipe_gives_a_tokenizer(tmp_path: Path, section: object, vocab_size: int, names: list[str]) -> None:
    recipe = load_recipe(write_recipe(tmp_path, section))
    run = run_stages(recipe, ["clean", "tokenizer"])
    tokenizer = Tokenizer.load(run.stage("tokenizer"))
    figures = run.figures("tokenizer")
    assert figures["vocab_size"] == tokenizer.vocab_size == vocab_size
    for language in ("en", "zh"):
        found = [name for name in figures if name.endswith(f".{language}")]
        assert [name.startswith(start) for name, start in zip(found, names, strict=True)] == [True] * len(names)
    assert tokenizer.decode(tokenizer.encode("the times\n")) == "the times\n"


@given(st.lists(st.integers(0, 50), min_size=1, max_size=300), st.floats(0.01, 1.0))
def test_a_sample_is_from_all_over(sizes: list[int], share: float) -> None:
    documents = [Document(str(place), "x" * size) for place, size in enumerate(sizes)]
    texts = list(sample(documents, share))
    assert texts[0] == documents[0].text
    assert len(texts) == len(sizes) or share < 1.0
    for end in range(1, len(sizes) + 1):  # the share is kept at every point of the corpus
        part = sum(map(len, sample(documents[:end], share)))
        assert abs(part - share * sum(sizes[:end])) <= 50 + 1e-6


@pytest.mark.parametrize("text", ["It was the best of times. " * 100_000, "话说天下大势，" * 400_000, "x" * 3_000_000])
def test_of_a_document_larger_than_the_sample_parts_are_learned_from(text: str) -> None:
    """Else one document alone would take as much memory as all of it takes to learn from."""
    documents = [Document("long", text), Document("short", "short" * 1000)]
    texts = list(sample(documents, 0.1))
    assert len(texts) > 1 and 0.1 * len(text) <= sum(map(len, texts)) <= 0.1 * len(text) + (1 << 18)
    assert all(each in text for each in texts)
    assert list(sample(documents, 1.0)) == [text, "short" * 1000], "all of it, as it stands"


def test_bpe_learns_from_a_sample_and_characters_from_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_stages(load_recipe(write_recipe(tmp_path, {"use": "bpe", "sample_bytes": 50})), ["clean", "tokenizer"])
    assert "of the text, about tokenizer.sample_bytes 50" in capsys.readouterr().out
    run = run_stages(load_recipe(write_recipe(tmp_path, "char")), ["clean", "tokenizer"])
    assert run.figures("tokenizer")["vocab_size"] == 31
    assert "sample_bytes" not in capsys.readouterr().out


def test_the_section_is_the_choice_and_comes_back_as_it(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, "bpe")
    recipe = load_recipe(path, ["tokenizer.vocab_size=300"])
    assert plain(recipe.section("tokenizer")) == {
        "use": "bpe",
        "vocab_size": 300,
        "min_frequency": 2,
        "sample_bytes": 200_000_000,
        "special": [],
    }
    path.write_text(recipe.to_yaml())
    assert load_recipe(path).sections == recipe.sections


def test_the_schema_is_that_of_the_choice() -> None:
    names, bpe, *_ = settings_schema(TrainTokenizer)["anyOf"]
    assert names == {"enum": ["bpe", "byte", "char", "wordpiece", "unigram", "word", "folder", "extend"]}
    assert bpe["properties"]["use"] == {"const": "bpe"}
    assert bpe["properties"]["vocab_size"]["minimum"] == 257

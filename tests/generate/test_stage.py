"""The stage ``generate``, from a recipe's section to ``samples.jsonl``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from danlu.errors import RecipeError
from danlu.generate.engine import generate, load
from danlu.generate.stage import Generate
from danlu.recipe import Recipe, build, plain
from danlu.runs import Job

SECTION = {
    "prompts": ["To be", {"text": "话说", "language": "zh"}],
    "samples": 3,
    "sampling": {"max_tokens": 12, "stop": "\n"},
}


def test_writes_every_sample_with_the_seed_that_gives_it_again(run_dir: Path, tmp_path: Path) -> None:
    stage = build(Generate, SECTION, key="generate")
    recipe = Recipe("x", run_dir, 40, {"generate": stage})
    figures = stage.run(Job(recipe, {need: run_dir / need for need in stage.needs}, tmp_path))
    samples = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [list(sample) for sample in samples] == [["prompt", "text", "language", "seed"]] * 6
    assert [sample["prompt"] for sample in samples] == ["To be"] * 3 + ["话说"] * 3
    assert [sample["language"] for sample in samples[3:]] == ["zh"] * 3
    assert [sample["seed"] for sample in samples] == [40, 41, 42, 43, 44, 45]
    assert figures["samples"] == 6
    assert figures["tokens"] <= 6 * 12
    model, tokenizer = load(run_dir / "pretrain/model", run_dir / "tokenizer")
    for sample in samples:
        (again,) = generate(model, tokenizer, [sample["prompt"]], settings=stage.sampling, seed=sample["seed"])
        assert again.text == sample["text"]


def test_an_empty_section_begins_one_new_document() -> None:
    stage = build(Generate, {}, key="generate")
    assert [prompt.text for prompt in stage.prompts] == [""]
    assert build(Generate, plain(stage), key="generate") == stage


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"prompts": []}, r"generate\.prompts must be a list of at least 1"),
        ({"prompts": [{"txt": "a"}]}, r"generate\.prompts\.0\.txt: unknown key; did you mean 'text'"),
        ({"samples": 0}, r"generate\.samples must be at least 1; got 0"),
        ({"sampling": {"top_k": "x"}}, r"generate\.sampling\.top_k must be"),
    ],
)
def test_says_what_is_wrong(section: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        build(Generate, section, key="generate")

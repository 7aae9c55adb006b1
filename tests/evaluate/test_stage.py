"""The stage from folders to folder."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from danlu.corpus.store import StoreWriter
from danlu.errors import RecipeError
from danlu.evaluate.stage import Evaluate
from danlu.nn.families import GPT
from danlu.nn.hf.folder import save_model
from danlu.nn.transformer import Transformer
from danlu.recipe import Recipe, build, plain
from danlu.runs import Job
from danlu.text.document import Document
from danlu.tokenizers.char import Char


def test_measures_the_model_of_pretrain_on_the_heldout_part_of_pack(tmp_path: Path) -> None:
    text = "to be or not to be"
    tokenizer = Char().train([text])
    for folder in ("tokenizer", "evaluate"):
        (tmp_path / folder).mkdir()
    tokenizer.save(tmp_path / "tokenizer")
    for part in ("train", "heldout"):
        with StoreWriter(tmp_path / "pack" / part, vocab_size=tokenizer.vocab_size, eot=tokenizer.eot) as writer:
            writer.add(Document("d", text, {"language": "en"}), tokenizer.encode(text))
    model = Transformer(GPT(layers=1, dim=16).config(vocab_size=tokenizer.vocab_size, max_length=8))
    model.initialise(1)  # an untrained head is zero: every token is as likely as any other
    save_model(model, tmp_path / "pretrain" / "model")

    stage = build(Evaluate, {"tasks": ["perplexity"]}, key="evaluate")
    recipe = Recipe("r", tmp_path, 1, {"evaluate": stage})
    inputs = {name: tmp_path / name for name in Evaluate.needs}
    figures = stage.run(Job(recipe, inputs, tmp_path / "evaluate"))

    assert figures["en.nats_per_token"] == pytest.approx(math.log(tokenizer.vocab_size), abs=1e-5)
    assert figures["en.tokens"] == len(text) + 1
    assert figures["baseline.en.nats_per_token"] < 1 < figures["en.nats_per_token"], "it has seen that document"
    assert sorted(path.name for path in (tmp_path / "evaluate").iterdir()) == [
        "perplexity.json",
        "perplexity_documents.jsonl",
    ]


def test_recipe_names_the_tasks() -> None:
    assert plain(build(Evaluate, None, key="evaluate")) == {"tasks": None}, "the model decides"
    assert plain(build(Evaluate, {"tasks": "perplexity"}, key="evaluate")) == {
        "tasks": [
            {"use": "perplexity", "batch_tokens": 8192, "baseline": {"order": 5, "max_tokens": 10_000_000}},
        ],
    }
    with pytest.raises(RecipeError, match=r"evaluate.tasks.0.use: unknown measure 'perplexty'; did you mean 'perp"):
        build(Evaluate, {"tasks": ["perplexty"]}, key="evaluate")
    with pytest.raises(RecipeError, match=r"evaluate.tasks must be a list of at least 1"):
        build(Evaluate, {"tasks": []}, key="evaluate")

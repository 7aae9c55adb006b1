"""The stage from folders to folder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from danlu.corpus.store_writer import StoreWriter
from danlu.errors import InputError, RecipeError
from danlu.evaluate import stage as module
from danlu.evaluate.perplexity import Perplexity
from danlu.evaluate.protocol import Subject
from danlu.evaluate.stage import Evaluate
from danlu.nn.families import GPT
from danlu.nn.hf.folder import save_model
from danlu.nn.transformer import Transformer
from danlu.recipe import Recipe, build, plain
from danlu.stage import Figures, Job
from danlu.text.document import Document
from danlu.tokenizers.char import Char
from danlu.tokenizers.tokenizer import Tokenizer
from danlu.train.pretrain import Pretrain

TEXT = "to be or not to be"


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Path]:
    """The folders of the stages before, with a model that was never trained."""
    tokenizer = Char().train([TEXT])
    for folder in ("tokenizer", "evaluate"):
        (tmp_path / folder).mkdir()
    tokenizer.save(tmp_path / "tokenizer")
    about: Any = {"vocab_size": tokenizer.vocab_size, "eot": tokenizer.eot, "tokenizer": tokenizer.identity}
    for part in ("train", "heldout"):
        with StoreWriter(tmp_path / "pack" / part, **about) as writer:
            writer.add(Document("d", TEXT, {"language": "en"}), tokenizer.encode(TEXT))
    model = Transformer(GPT(layers=1, dim=16).config(vocab_size=tokenizer.vocab_size, max_length=8))
    model.initialise(1)  # an untrained head is zero: every token is as likely as any other
    save_model(model, tmp_path / "pretrain" / "model")
    return {name: tmp_path / name for name in Evaluate.needs}


def measure(inputs: dict[str, Path], folder: Path, **settings: Any) -> Figures:
    pretrain = build(Pretrain, {"model": {"use": "gpt", "layers": 1, "dim": 16}, "sequence": 8}, key="pretrain")
    stage = build(Evaluate, settings, key="evaluate")
    return stage.run(
        Job(Recipe("r", folder, 1, {"evaluate": stage, "pretrain": pretrain}), inputs, folder / "evaluate")
    )


def test_a_store_of_another_tokenizer_is_refused(inputs: dict[str, Path], tmp_path: Path) -> None:
    """Though it is of the same size, and has the same end of text."""
    other = Char().train([TEXT.replace("b", "c")])
    assert other.vocab_size == Tokenizer.load(inputs["tokenizer"]).vocab_size
    other.save(inputs["tokenizer"])
    with pytest.raises(InputError, match=rf"^the token store in {inputs['pack']}/train was packed with another token"):
        measure(inputs, tmp_path, tasks=["perplexity"])


def test_measures_the_model_of_pretrain_on_the_heldout_part_of_pack(inputs: dict[str, Path], tmp_path: Path) -> None:
    figures = measure(inputs, tmp_path, tasks=["perplexity"])
    vocab_size = Tokenizer.load(inputs["tokenizer"]).vocab_size
    assert figures["en.nats_per_token"] == pytest.approx(math.log(vocab_size), abs=1e-5)
    assert figures["en.tokens"] == len(TEXT) + 1
    assert figures["baseline.en.nats_per_token"] < 1 < figures["en.nats_per_token"], "it has seen that document"
    assert sorted(path.name for path in (tmp_path / "evaluate").iterdir()) == [
        "perplexity.json",
        "perplexity_documents.jsonl",
    ]


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda"])
def test_measures_where_the_recipe_says(
    device: str, inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device without memory stands for a GPU: nothing can be computed there."""
    asked: list[tuple[str, str]] = []
    found: list[str] = []

    def choose(setting: str, *, key: str) -> torch.device:
        asked.append((setting, key))
        return torch.device("meta")

    def note(_: Perplexity, subject: Subject) -> Figures:
        found.extend({weight.device.type for weight in subject.model.parameters()})
        return {}

    monkeypatch.setattr(module, "choose_device", choose)
    monkeypatch.setattr(Perplexity, "measure", note)
    measure(inputs, tmp_path, device=device)
    assert asked == [(device, "evaluate.device")] and found == ["meta"]


def test_a_gpu_that_is_not_there_is_told(
    inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RecipeError, match=r"^evaluate\.device is cuda, and torch finds no GPU here \(choices: auto, c"):
        measure(inputs, tmp_path, device="cuda")
    assert measure(inputs, tmp_path, device="auto") == measure(inputs, tmp_path)


@pytest.mark.gpu
def test_a_gpu_measures_what_a_processor_measures(inputs: dict[str, Path], tmp_path: Path) -> None:
    here, there = (
        measure(inputs, tmp_path, tasks=["perplexity", "objective"], device=device) for device in ("cpu", "cuda")
    )
    assert there == pytest.approx(here, rel=1e-4)


def test_recipe_names_the_tasks() -> None:
    assert plain(build(Evaluate, None, key="evaluate")) == {"tasks": None, "device": "cpu"}, "the model decides"
    assert plain(build(Evaluate, {"tasks": "perplexity"}, key="evaluate")) == {
        "tasks": [
            {
                "use": "perplexity",
                "batch_tokens": 8192,
                "stride": None,
                "baseline": {"order": 5, "max_tokens": 10_000_000},
            },
        ],
        "device": "cpu",
    }
    with pytest.raises(RecipeError, match=r"evaluate.tasks.0.use: unknown measure 'perplexty'; did you mean 'perp"):
        build(Evaluate, {"tasks": ["perplexty"]}, key="evaluate")
    with pytest.raises(RecipeError, match=r"evaluate.tasks must be a list of at least 1"):
        build(Evaluate, {"tasks": []}, key="evaluate")

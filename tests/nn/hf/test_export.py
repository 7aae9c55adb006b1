"""The stage ``export``: what it writes loads in stock transformers as its own card says."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from danlu.clean.stage import Clean
from danlu.errors import CheckpointError, RecipeError
from danlu.evaluate.stage import Evaluate
from danlu.nn.families import T5, Bart, Bert
from danlu.nn.hf import export
from danlu.nn.hf.card import model_card
from danlu.nn.hf.export import Export
from danlu.nn.hf.folder import load_config, load_model, save_model
from danlu.nn.transformer import Transformer
from danlu.recipe import Recipe, Settings, build
from danlu.run_folder import RunFolder
from danlu.stage import Figures, Job
from danlu.tokenizers.bpe import BPE
from danlu.tokenizers.tokenizer import Tokenizer

MakeModel = Callable[..., Transformer]


@pytest.fixture
def run_dir(tmp_path: Path, make_model: MakeModel) -> Path:
    """A run folder with a model, its tokenizer, and figures of the stages before."""
    tokenizer = BPE(vocab_size=270).train(["to be or not to be 话说天下大势"])
    for stage in ("clean", "tokenizer", "pretrain"):
        (tmp_path / stage).mkdir()
    tokenizer.save(tmp_path / "tokenizer")
    model = make_model(vocab_size=tokenizer.vocab_size)
    save_model(model, tmp_path / "pretrain" / "model", tokenizer=tmp_path / "tokenizer")
    folder = RunFolder(tmp_path)
    clean = {"documents_kept": 12, "bytes": 3456, "language.en.bytes": 3000, "language.zh.bytes": 456}
    folder.returned("clean", folder.made_from(recipe_of(tmp_path), "clean"), clean, 1.0)
    folder.finish("clean")
    folder.returned("pretrain", {}, {"steps": 7, "precision": "bf16: this processor has it"}, 1.0)
    folder.finish("pretrain")
    return tmp_path


def recipe_of(run_dir: Path, **sections: Settings) -> Recipe:
    """A recipe that cleans a file of text and exports."""
    (run_dir / "a.txt").write_text("to be", encoding="utf-8")
    clean = build(Clean, {"sources": [str(run_dir / "a.txt")]}, key="clean")
    return Recipe("tiny", run_dir, 1, {"clean": clean, "export": Export(), **sections})


def run(run_dir: Path, **settings: Any) -> tuple[Path, Figures]:
    stage = build(Export, settings, key="export")
    out = run_dir / "export"
    out.mkdir()
    recipe = recipe_of(run_dir, export=stage)
    return out, stage.run(Job(recipe, {need: run_dir / need for need in stage.needs}, out))


def test_stock_transformers_loads_it_as_the_card_says(run_dir: Path, make_model: MakeModel) -> None:
    out, figures = run(run_dir)
    model = load_model(run_dir / "pretrain" / "model")
    assert figures["parameters"] == sum(weight.numel() for weight in model.parameters())
    assert figures["bytes"] == sum(path.stat().st_size for path in out.iterdir() if path.name != "README.md")
    (code,) = re.findall(r"```python\n(.*?)```", (out / "README.md").read_text(), flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(code.replace("path/to/this/folder", str(out)).replace("100", "3").replace("…", "to be"), names)
    tokens = names["prompt"]["input_ids"]
    tokenizer = names["tokenizer"]
    assert tokens[0].tolist() == [0, *tokenizer("to be").input_ids]
    with torch.no_grad():
        torch.testing.assert_close(names["model"](tokens).logits, model.head(model(tokens)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("family", "pipeline", "layers"), [
    (Bert, "fill-mask", "2"), (T5, "text2text-generation", "2 and 2"), (Bart, "text2text-generation", "2 and 2"),
])  # fmt: skip
def test_the_card_of_other_families_loads_what_it_needs(
    family: type[Bert | T5 | Bart], pipeline: str, layers: str, run_dir: Path
) -> None:
    BPE(vocab_size=400, special=["bert", "t5"]).train(["to be or not to be 话说天下大势"]).save(run_dir / "tokenizer")
    size = Tokenizer.load(run_dir / "tokenizer").vocab_size
    shutil.rmtree(run_dir / "pretrain" / "model")
    model = Transformer(family(layers=2, dim=24, heads=2).config(vocab_size=size, max_length=40))
    model.initialise(0)
    save_model(model, run_dir / "pretrain" / "model", tokenizer=run_dir / "tokenizer")
    out, _ = run(run_dir)
    card = (out / "README.md").read_text()
    assert f"pipeline_tag: {pipeline}" in card and "causal" not in card and f"| layers | {layers} |" in card
    (code,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(code.replace("path/to/this/folder", str(out)).replace("100", "3").replace("…", "to be"), names)
    tokens = names["text"]["input_ids"]
    with torch.no_grad():
        memory = model.encode(tokens) if model.decoder is not None else None
        theirs = names["model"](tokens, **({} if memory is None else {"decoder_input_ids": tokens})).logits
        torch.testing.assert_close(theirs, model.head(model(tokens, memory=memory)), rtol=1e-4, atol=1e-4)
    if family is Bert:
        assert int(names["hidden"].sum()) == 1


def test_the_card_says_what_is_known(run_dir: Path) -> None:
    out, _ = run(run_dir)
    card = (out / "README.md").read_text()
    for part in (
        "language: [en, zh]", "# tiny", "| bytes, zh | 456 |", "| steps | 7 |", "| precision | bf16 |",
        "| layers | 3 |", "| attention heads | 6 (2 for keys and values), 8 wide |", "| torch | ",
    ):  # fmt: skip
        assert part in card
    assert "Held-out figures" not in card  # nothing was measured on this model


def test_the_data_card_goes_with_the_model(run_dir: Path) -> None:
    """Where it is of the text that the recipe names: not once the recipe cleans other text."""
    (run_dir / "clean" / "data_card.md").write_text("# Data card")
    out, _ = run(run_dir)
    assert (out / "data_card.md").read_text() == "# Data card"
    assert "[data_card.md](data_card.md)" in (out / "README.md").read_text()
    config = load_config(run_dir / "pretrain" / "model")
    other = build(Clean, {"sources": [str(run_dir / "a.txt")], "rules": []}, key="clean")
    assert "data_card.md" not in model_card(recipe_of(run_dir, clean=other), config, parameters=1)


def test_the_card_gives_figures_of_this_very_model_only(run_dir: Path) -> None:
    recipe = recipe_of(run_dir, evaluate=Evaluate())
    folder = RunFolder(run_dir)
    config = load_config(run_dir / "pretrain" / "model")
    (run_dir / "evaluate").mkdir()
    folder.returned("evaluate", folder.made_from(recipe, "evaluate"), {"en.perplexity": 12.345}, 1.0)
    folder.finish("evaluate")
    assert "| en.perplexity | 12.35 |" in model_card(recipe, config, parameters=1)
    done = json.loads((run_dir / "pretrain" / "done.json").read_text())
    (run_dir / "pretrain" / "done.json").write_text(json.dumps({**done, "outputs": {"model.safetensors": "another"}}))
    assert "perplexity" not in model_card(recipe, config, parameters=1)


def test_the_tokenizer_is_the_one_that_the_model_was_trained_with(run_dir: Path) -> None:
    BPE(vocab_size=270).train(["another text, trained on later"]).save(run_dir / "tokenizer")
    out, _ = run(run_dir)
    written = (out / "tokenizer.json").read_bytes()
    assert written == (run_dir / "pretrain" / "model" / "tokenizer.json").read_bytes()
    assert written != (run_dir / "tokenizer" / "tokenizer.json").read_bytes()


def test_bfloat16_is_half_as_large_and_rounded(run_dir: Path) -> None:
    out, figures = run(run_dir, dtype="bfloat16")
    assert figures["dtype"] == "bfloat16"
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (out, run_dir / "pretrain" / "model")]
    assert sizes[0] < 0.55 * sizes[1]
    original, written = load_model(run_dir / "pretrain" / "model"), load_model(out)
    for weight, rounded in zip(original.parameters(), written.parameters(), strict=True):
        assert torch.equal(rounded, weight.bfloat16().float())
    assert transformers.AutoModelForCausalLM.from_pretrained(out).dtype == torch.bfloat16


def test_what_does_not_come_back_is_told(run_dir: Path, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def flip(model: Transformer, folder: Path, **rest: Any) -> None:
        save_model(make_model(vocab_size=model.config.vocab_size, seed=1), folder, **rest)

    monkeypatch.setattr(export, "save_model", flip)
    with pytest.raises(CheckpointError, match="does not hold the model that was written to it"):
        run(run_dir)


def test_a_model_that_was_cut_off_is_told(run_dir: Path) -> None:
    path = run_dir / "pretrain" / "model" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=f"{path} is damaged"):
        run(run_dir)
    shutil.rmtree(run_dir / "export")
    path.unlink()
    with pytest.raises(CheckpointError, match=f"{path} is missing"):
        run(run_dir)


@pytest.mark.parametrize("settings", [{"format": "gguf"}, {"dtype": "float16"}])
def test_an_unknown_choice_is_told(settings: dict[str, str]) -> None:
    with pytest.raises(RecipeError, match=r"export\.\w+ must be 'huggingface'|export\.dtype must be 'float32' or"):
        build(Export, settings, key="export")

"""Pretraining that goes on from a folder's weights, with the folder's tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import yaml

from danlu import cli
from danlu.nn.hf.folder import load_model

TEXT = "Once upon a time there was a sentence. To be, or not to be: that is the question. 话说天下大势。\n\n"


def recipe(folder: Path, tmp_path: Path, objective: Any, **pretrain: Any) -> Path:
    (tmp_path / "text").mkdir(exist_ok=True)
    (tmp_path / "text/a.txt").write_text(TEXT * 40, encoding="utf-8")
    sections = {
        "clean": {"sources": [{"path": str(tmp_path / "text"), "documents": {"use": "blocks", "characters": 300}}]},
        "tokenizer": {"use": "folder", "path": str(folder)},
        "pack": {"split": {"use": "tail", "fraction": 0.2}},
        "pretrain": {
            "model": {"use": "folder", "path": str(folder)}, "objective": objective, "sequence": 16, "batch": 4,
            "budget": {"steps": 30}, "optimizer": {"use": "adamw", "lr": 3e-3}, "compile": "off", "precision": "fp32",
            **pretrain,
        },
        "run_dir": str(tmp_path / "run"),
    }  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(sections))
    return tmp_path / "recipe.yaml"


def losses(tmp_path: Path) -> list[float]:
    lines = map(json.loads, (tmp_path / "run/pretrain/metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if "loss" in line]


def test_a_decoder_goes_on_from_where_it_was(decoder: Path, tmp_path: Path) -> None:
    """The first loss is that of the folder's model; a model of the same shape that begins anew has another."""
    assert cli.main(["run", str(recipe(decoder, tmp_path, "clm", optimizer={"use": "sgd", "lr": 1e-12}))]) == 0
    before, after = load_model(decoder), load_model(tmp_path / "run/pretrain/model")
    assert after.config == before.config
    for name, weight in before.state_dict().items():
        torch.testing.assert_close(after.state_dict()[name], weight, rtol=0, atol=1e-7)
    stock = transformers.AutoTokenizer.from_pretrained(decoder)
    ours = transformers.AutoTokenizer.from_pretrained(tmp_path / "run/pretrain/model")
    assert ours(TEXT).input_ids == stock(TEXT).input_ids


def test_it_learns_the_text_of_the_domain(decoder: Path, tmp_path: Path) -> None:
    assert cli.main(["run", str(recipe(decoder, tmp_path, "clm"))]) == 0
    found = losses(tmp_path)
    assert found[-1] < found[0] - 0.5


def test_a_decoder_goes_on_with_more_tokens(decoder: Path, tmp_path: Path) -> None:
    """Its first loss is that of the folder's rows, and of the means of their pieces; what it learned is kept."""
    path = recipe(decoder, tmp_path, "clm", optimizer={"use": "sgd", "lr": 1e-12}, budget={"steps": 2})
    sections = yaml.safe_load(path.read_text())
    sections["tokenizer"] = {"use": "extend", "path": str(decoder), "add": 20}
    sections["evaluate"] = {"tasks": ["perplexity", "forgetting"]}
    path.write_text(yaml.safe_dump(sections))
    assert cli.main(["run", str(path)]) == 0
    before, after = load_model(decoder), load_model(tmp_path / "run/pretrain/model")
    old = before.config.vocab_size
    assert after.config.vocab_size == old + 20
    for name, weight in before.state_dict().items():
        found = after.state_dict()[name]
        torch.testing.assert_close(found[:old] if len(weight) == old else found, weight, rtol=0, atol=1e-7)
    figures = json.loads((tmp_path / "run/evaluate/done.json").read_text())["figures"]
    assert figures["forgetting.all.before"] == pytest.approx(figures["forgetting.all.after"], abs=1e-5)


def test_a_bare_encoder_gets_a_head_for_words(encoder: Path, tmp_path: Path) -> None:
    tokenizer = json.loads((encoder / "tokenizer_config.json").read_text())
    (encoder / "tokenizer_config.json").write_text(json.dumps({**tokenizer, "mask_token": "[MASK]"}))
    assert cli.main(["run", str(recipe(encoder, tmp_path, "mlm"))]) == 0
    model, report = transformers.AutoModelForMaskedLM.from_pretrained(
        tmp_path / "run/pretrain/model", output_loading_info=True
    )
    assert not any(report.values()), report
    assert losses(tmp_path)[-1] < losses(tmp_path)[0]
    stock = transformers.BertModel.from_pretrained(encoder).embeddings.word_embeddings.weight
    ours = model.bert.embeddings.word_embeddings.weight
    assert torch.cosine_similarity(ours.flatten(), stock.flatten(), dim=0) > 0.9, "the rest goes on from the folder"


def test_a_run_is_done_anew_when_the_folder_changes(decoder: Path, tmp_path: Path, capsys: Any) -> None:
    path = recipe(decoder, tmp_path, "clm", budget={"steps": 1})
    assert cli.main(["run", str(path)]) == 0
    config = json.loads((decoder / "generation_config.json").read_text())
    (decoder / "generation_config.json").write_text(json.dumps({**config, "max_length": 77}))
    capsys.readouterr()
    assert cli.main(["run", str(path)]) == 0
    said = capsys.readouterr().out
    assert "pack: unchanged, skipped" in said and "pretrain: the files that it reads" in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sequence": 500}, "sees at most 96 tokens; got sequence 500"),
        ({"objective": "mlm"}, "needs a model with an encoder"),
        ({"model": {"use": "folder", "path": "nowhere"}}, "no model in nowhere"),
        ({"model": {"use": "folder"}}, "pretrain.model.path"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_before_anything_runs(
    change: dict[str, Any], message: str, decoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recipe(decoder, tmp_path, change.pop("objective", "clm"), **change)
    assert cli.main(["run", str(path)]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1 and not (tmp_path / "run").exists()

"""Folders of models for a task: those of others, what a fine-tuning keeps of them, and what others read of ours."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
import transformers
import yaml
from safetensors.torch import load_file

from danlu import cli
from danlu.data.dataset import Data
from danlu.tasks.model_folder import Trained, describe
from danlu.tasks.reward import Score
from danlu.tasks.task import Known

TEXTS = (("good", "to be"), ("bad", "or not that"), ("good", "be there"), ("bad", "not once"))
ROWS = [(f"{text} {number}", label) for number in range(10) for label, text in TEXTS]


def table(path: Path, rows: Sequence[Sequence[Any]], header: Sequence[str]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def finetune(folder: Path, tmp_path: Path, **settings: Any) -> Path:
    """The folder of a classifier that begins with the model in ``folder``."""
    data = table(tmp_path / "train.csv", ROWS, ("text", "label"))
    section = {"model": str(folder), "data": str(data), "precision": "fp32", "batch": 8, **settings}
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({"finetune": section, "run_dir": str(tmp_path / "run"), "seed": 3}))
    assert cli.main(["finetune", str(path)]) == 0
    return tmp_path / "run/finetune/model"


def stock_classifier(folder: Path, labels: Sequence[str]) -> Any:
    """A BERT of transformers in ``folder`` beside the tokenizer there."""
    torch.manual_seed(0)
    config = transformers.BertConfig.from_pretrained(
        folder, id2label=dict(enumerate(labels)), label2id={label: place for place, label in enumerate(labels)}
    )
    stock = transformers.BertForSequenceClassification(config).eval()
    stock.save_pretrained(folder)
    return stock


def test_a_classifier_of_others_answers_too(encoder: Path, tmp_path: Path) -> None:
    stock = stock_classifier(encoder, labels=["no", "yes", "maybe"])
    new = table(tmp_path / "new.csv", [("to be",), ("that is the question of a time",)], ["text"])
    arguments = ["predict", str(encoder), str(new), "--out", str(tmp_path / "out.jsonl"), "--dtype", "float32"]
    assert cli.main(arguments) == 0
    pipeline = transformers.pipeline("text-classification", model=stock, device="cpu", top_k=None,
                                     tokenizer=transformers.AutoTokenizer.from_pretrained(encoder))  # fmt: skip
    for line in map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines()):
        theirs = {each["label"]: each["score"] for each in pipeline(line["texts"])[0]}
        assert theirs == pytest.approx(line["scores"], abs=1e-5)


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        (("premise", "hypothesis"), ()),  # called so
        (("text", "text_pair"), ()),  # as in pipelines of transformers
        (("one", "other"), ("first=one", "second=other")),
    ],
)
def test_a_classifier_of_pairs_of_others_reads_both_texts(
    header: tuple[str, str], columns: tuple[str, ...], encoder: Path, tmp_path: Path
) -> None:
    stock = stock_classifier(encoder, labels=["no", "yes", "maybe"])
    rows = [("to be", "that is not"), ("once upon a time", "to be that is the question of")]
    arguments = ["predict", str(encoder), str(table(tmp_path / "new.csv", rows, header)), *columns]
    assert cli.main([*arguments, "--out", str(tmp_path / "out.jsonl"), "--dtype", "float32"]) == 0
    tokenizer = transformers.AutoTokenizer.from_pretrained(encoder)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    for row, line in zip(rows, lines, strict=True):
        with torch.no_grad():
            shares = stock(**tokenizer(*row, return_tensors="pt")).logits[0].softmax(-1).tolist()
        assert line["texts"] == list(row)
        assert line["scores"] == pytest.approx(dict(zip(("no", "yes", "maybe"), shares, strict=True)), abs=1e-5)


def test_of_two_texts_a_classifier_of_others_reads_the_one_that_is_named(encoder: Path, tmp_path: Path) -> None:
    stock_classifier(encoder, labels=["no", "yes"])
    new = table(tmp_path / "new.csv", [("to be", "that is not"), ("be", "that")], ("premise", "hypothesis"))
    out = tmp_path / "out.jsonl"
    assert cli.main(["predict", str(encoder), str(new), "text=hypothesis", "--out", str(out)]) == 0
    assert [json.loads(line)["texts"] for line in out.read_text().splitlines()] == [["that is not"], ["that"]]


def test_a_number_of_others_for_two_texts_is_their_similarity(encoder: Path, tmp_path: Path) -> None:
    stock = stock_classifier(encoder, labels=["LABEL_0"])
    new = table(tmp_path / "new.csv", [("to be", "that is not")], ("query", "passage"))
    out = tmp_path / "out.jsonl"
    assert cli.main(["predict", str(encoder), str(new), "--out", str(out)]) == 0
    tokenizer = transformers.AutoTokenizer.from_pretrained(encoder)
    with torch.no_grad():
        wanted = float(stock(**tokenizer("to be", "that is not", return_tensors="pt")).logits)
    assert json.loads(out.read_text())["prediction"] == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (["bad", "good"], "whose head is kept"),
        (["good", "bad"], "drawn anew: head.out.weight, head.out.bias, for the head there scores other labels"),
        (["LABEL_0", "LABEL_1"], "for the head there scores other labels"),
    ],
)
def test_a_head_stays_only_where_its_labels_are_the_same(
    labels: list[str], told: str, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stock = stock_classifier(encoder, labels=labels)
    out = finetune(encoder, tmp_path, optimizer={"lr": 1e-12}, budget={"steps": 1})
    assert told in capsys.readouterr().out
    trained = load_file(out / "model.safetensors")
    kept = torch.allclose(trained["classifier.weight"], stock.classifier.weight, rtol=0, atol=1e-8)
    assert kept is (labels == ["bad", "good"])
    assert torch.allclose(trained["bert.pooler.dense.weight"], stock.bert.pooler.dense.weight, rtol=0, atol=1e-8)


@pytest.mark.parametrize("ends", [False, True])
def test_classifiers_that_are_decoders_read_several_texts_at_once_in_transformers(
    ends: bool, decoder: Path, tmp_path: Path
) -> None:
    """Also where the tokenizer puts behind a text what would be padding."""
    if ends:
        path = decoder / "tokenizer.json"
        inner = tokenizers.Tokenizer.from_str(path.read_text())
        inner.add_special_tokens(["<|begin|>"])
        inner.post_processor = tokenizers.processors.TemplateProcessing(
            single="$A <|end|>", pair="$A $B <|end|>", special_tokens=[("<|end|>", 0)]
        )
        named = {"eos_token": "<|end|>", "bos_token": "<|begin|>", "pad_token": "<|end|>"}
        transformers.PreTrainedTokenizerFast(tokenizer_object=inner, **named).save_pretrained(decoder)
    folder, out = finetune(decoder, tmp_path, budget={"steps": 2}), tmp_path / "out.jsonl"
    texts = ["To be", "or not to be that is the question", "Once", "Once upon a time there was a sentence."]
    new = table(tmp_path / "new.csv", [(text,) for text in texts], ["text"])
    assert cli.main(["predict", str(folder), str(new), "--out", str(out), "--dtype", "float32"]) == 0
    pipeline = transformers.pipeline("text-classification", str(folder), device="cpu", top_k=None)
    ours = [json.loads(line)["scores"] for line in out.read_text().splitlines()]
    for scores, theirs in zip(ours, pipeline(texts, batch_size=2), strict=True):
        assert {each["label"]: each["score"] for each in theirs} == pytest.approx(scores, abs=1e-5)
    assert len({tuple(sorted(scores.values())) for scores in ours}) == len(texts)


def test_a_task_that_no_recipe_names_is_told_by_its_class() -> None:
    assert describe(Trained(Score(), Known(), 64, Data(train=Path("a")), {})) == "Score"

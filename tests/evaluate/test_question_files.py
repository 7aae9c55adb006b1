"""``danlu evaluate FOLDER --suite FILE``: what it prints, writes and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from danlu.cli import main
from danlu.files import read_json, read_jsonl

PAIRS = [
    {"sentence_good": f"To be, or not to be {number}", "sentence_bad": f"be To not {number} or",
     "UID": f"u{number % 2}", "linguistics_term": "order"} for number in range(6)
]  # fmt: skip
WORDS = [
    {"context": "Once upon a time there was a", "continuation": "sentence"},
    {"context": "To be, or", "continuation": "not"},
]
EXAM = [{"subject": "agronomy", "question": "话说？", "A": "天", "B": "下", "C": "大", "D": "势", "answer": "C"}] * 3


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, rows in (("blimp_mine", PAIRS), ("lambada", WORDS), ("cmmlu", EXAM), ("others", PAIRS)):
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    return tmp_path


def test_a_table_figures_and_a_line_a_question(
    whole_decoder: Path, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = files / "deep" / "out"
    suites = [files / "blimp_mine.jsonl", f"lambada={files / 'lambada.jsonl'}", files / "cmmlu.jsonl"]
    flags = [part for suite in suites for part in ("--suite", str(suite))]
    more = ["cmmlu.shots=1", f"cmmlu.examples={files / 'cmmlu.jsonl'}", "seed=3"]
    assert main(["evaluate", str(whole_decoder), *flags, "--out", str(out), *more]) == 0
    said = capsys.readouterr().out
    assert "blimp_mine" in said and "order" in said and "50.0" in said and "perplexity" in said
    figures = read_json(out / "figures.json")
    assert figures is not None and list(figures) == ["blimp_mine", "lambada", "cmmlu"]
    lines = read_jsonl(out / "blimp_mine_items.jsonl")
    assert len(lines) == 6
    assert figures["blimp_mine"]["acc"] == pytest.approx(sum(line["right"] for line in lines) / 6, abs=1e-6)
    whole = read_json(out / "blimp_mine.json")
    assert whole is not None and whole["all"] == figures["blimp_mine"]
    assert {name: each["items"] for name, each in whole["paradigm"].items()} == {"u0": 3, "u1": 3}
    exam = read_json(out / "cmmlu.json")
    assert exam is not None and exam["suite"]["shots"] == 1
    assert read_jsonl(out / "cmmlu_items.jsonl")[0]["context"].count("答案：") == 2


def test_log_likelihoods_in_the_file_are_those_of_transformers(whole_decoder: Path, files: Path) -> None:
    out = files / "out"
    assert main(["evaluate", str(whole_decoder), "--suite", str(files / "lambada.jsonl"), "--out", str(out)]) == 0
    stock: Any = transformers.AutoModelForCausalLM.from_pretrained(whole_decoder, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(whole_decoder)
    for row, line in zip(WORDS, read_jsonl(out / "lambada_items.jsonl"), strict=True):
        whole = tokenizer(f"{row['context']} {row['continuation']}").input_ids
        begin = len(tokenizer(row["context"]).input_ids)
        with torch.no_grad():
            log_TV = stock(torch.tensor([whole])).logits[0].log_softmax(-1)
        wanted = sum(float(log_TV[place - 1, whole[place]]) for place in range(begin, len(whole)))
        assert line["log_likelihoods"] == [pytest.approx(wanted, abs=1e-4)]


@pytest.mark.parametrize(("arguments", "message"), [
    (["--suite", "{}/others.jsonl", "--out", "{}/out"], "cannot tell the suite of"),
    (["--suite", "blomp={}/others.jsonl", "--out", "{}/out"], "unknown suite 'blomp'; did you mean 'blimp'"),
    (["--suite", "blimp={}/nothing.jsonl", "--out", "{}/out"], "there is no file"),
    (["--suite", "arc={}/lambada.jsonl", "--out", "{}/out"], "cannot tell which column holds the question"),
    (["--suite", "{}/lambada.jsonl", "--out", "{}"], "exists already and is no empty folder"),
    (["--suite", "{}/lambada.jsonl"], "--suite FILE and --out FOLDER, both"),
    (["--out", "{}/out"], "--suite FILE and --out FOLDER, both"),
    (["--suite", "{}/lambada.jsonl", "--out", "{}/out", "--limit", "0"], "--limit must be at least 1; got 0"),
    (["--suite", "{}/lambada.jsonl", "--out", "{}/out", "cmmlu.shots=1"], "cmmlu: no --suite is a cmmlu"),
    (["--suite", "{}/lambada.jsonl", "--out", "{}/out", "sead=1"], "sead: unknown key; did you mean 'seed'"),
    (["--suite", "{}/cmmlu.jsonl", "--out", "{}/out", "cmmlu=5"], "cmmlu must be settings, as in cmmlu.shots=5"),
    (["--suite", "{}/lambada.jsonl", "--suite", "lambada={}/lambada.jsonl", "--out", "{}/out"],
     "two files are called lambada"),
])  # fmt: skip
def test_what_is_wrong_is_one_clear_line_and_nothing_is_written(
    arguments: list[str], message: str, whole_decoder: Path, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [part.replace("{}", str(files)) for part in arguments]
    assert main(["evaluate", str(whole_decoder), *filled]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (files / "out").exists()


def test_a_recipe_has_its_suites_in_itself(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "r.yaml").write_text("evaluate: {}\n")
    assert main(["evaluate", str(files / "r.yaml"), "--suite", str(files / "lambada.jsonl")]) == 2
    assert "a recipe has evaluate.tasks" in capsys.readouterr().err


def test_a_masked_model_chooses_and_writes_nothing(
    whole_encoder: Path, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "masked"
    tokenizer = transformers.AutoTokenizer.from_pretrained(whole_encoder)
    tokenizer.mask_token = "[MASK]"
    tokenizer.save_pretrained(folder)
    transformers.BertForMaskedLM(transformers.BertConfig.from_pretrained(whole_encoder)).save_pretrained(folder)
    assert main(["evaluate", str(folder), "--suite", str(files / "blimp_mine.jsonl"), "--out", str(files / "a")]) == 0
    assert main(["evaluate", str(folder), "--suite", str(files / "lambada.jsonl"), "--out", str(files / "b")]) == 2
    assert "a masked language model writes no words" in capsys.readouterr().err
    assert not (files / "b").exists()

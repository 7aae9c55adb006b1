"""A head that the folder has begins with what it has said before, whatever the new file's numbers are."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import torch
import transformers
import yaml
from short_run import finetuned
from torch import Tensor

from danlu.cli import main

STILL = 1e-12
"""A rate at which nothing is learned."""
WORDS = ["to", "be", "or", "not", "that", "is", "the", "question", "once", "upon", "a", "time", "there", "was"]
TEXTS = [" ".join(WORDS[place % 7 :][: 2 + place % 5]) for place in range(35)]
TOKENS = [[2, 20, 30, 40, 3], [2, 21, 3], [2, 25, 26, 27, 28, 3]]


def with_head(folder: Path) -> Any:
    """The model in ``folder`` with a head that says numbers, which transformers has put there."""
    kind = transformers.AutoModelForSequenceClassification
    model = kind.from_pretrained(folder, num_labels=1, problem_type="regression", dtype=torch.float32).eval()
    head = getattr(model, "classifier", None) or model.score
    torch.manual_seed(5)
    with torch.no_grad():
        head.weight.normal_(0.0, 1.0)
        if head.bias is not None:
            head.bias.fill_(7.0)
    model.save_pretrained(folder)
    return model


def numbers(model: Any) -> Tensor:
    """What it says of each text by itself: a decoder of transformers asks for padding, which these have none of."""
    with torch.no_grad():
        return torch.cat([model(torch.tensor([each])).logits for each in TOKENS])


def scores(folder: Path, model: Any) -> list[float]:
    """What it says of the texts of the files below."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        return [float(model(**tokenizer(text, return_tensors="pt")).logits) for text in TEXTS]


def written(path: Path, numbers: list[float]) -> Path:
    """A file with a number for each of the texts."""
    lines = (json.dumps({"text": text, "score": number}) for text, number in zip(TEXTS, numbers, strict=True))
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def thousands(path: Path) -> Path:
    return written(path, [1000.0 + 100 * number for number in range(35)])


@pytest.mark.parametrize(("family", "method"), [
    ("encoder", "full"), ("encoder", "{use: lora, rank: 2}"), ("decoder", "full"),
])  # fmt: skip
def test_a_head_of_numbers_begins_with_those_it_has_said(
    family: str, method: str, tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = request.getfixturevalue(family)
    model = with_head(folder)
    before = numbers(model)
    file = written(tmp_path / "new.jsonl", [each + (-1) ** place for place, each in enumerate(scores(folder, model))])
    out = finetuned(tmp_path, folder, file, "regress", method, rate=STILL)
    assert "whose head is kept" in capsys.readouterr().out
    after = transformers.AutoModelForSequenceClassification.from_pretrained(out / "model", dtype=torch.float32).eval()
    torch.testing.assert_close(numbers(after), before, rtol=1e-4, atol=2e-3)


@pytest.mark.parametrize(("factor", "added"), [(0.02, -3.0), (40.0, 500.0), (-5.0, 100.0)])
def test_a_head_of_another_scale_begins_on_that_of_the_file(
    factor: float, added: float, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the order that it has learned, or with the mean where that is the wrong way round."""
    model = with_head(encoder)
    before, said = numbers(model), scores(encoder, model)
    file = written(tmp_path / "new.jsonl", [added + factor * each for each in said])
    out = finetuned(tmp_path, encoder, file, "regress", "full", rate=STILL)
    assert "the numbers of the head that is kept are of another scale" in capsys.readouterr().out
    after = transformers.AutoModelForSequenceClassification.from_pretrained(out / "model", dtype=torch.float32).eval()
    expected = added + factor * before if factor > 0 else torch.full_like(before, added + factor * mean(said))
    torch.testing.assert_close(numbers(after), expected, rtol=1e-4, atol=2e-3)


def test_a_new_head_of_numbers_begins_about_their_mean(encoder: Path, tmp_path: Path) -> None:
    out = finetuned(tmp_path, encoder, thousands(tmp_path / "new.jsonl"), "regress", "full", rate=STILL)
    after = transformers.AutoModelForSequenceClassification.from_pretrained(out / "model", dtype=torch.float32).eval()
    assert (numbers(after) - 2700).abs().max() < 700


def test_of_several_tasks_each_keeps_its_own(encoder: Path, tmp_path: Path) -> None:
    model = with_head(encoder)
    before = numbers(model)
    labelled = tmp_path / "labelled.jsonl"
    labelled.write_text("".join(json.dumps({"text": f"once {n}", "label": "ab"[n % 2]}) + "\n" for n in range(24)))
    tasks = {
        "first": {"task": "classify", "data": str(labelled)},
        "second": {"task": "regress", "data": str(written(tmp_path / "new.jsonl", scores(encoder, model)))},
    }
    joint = {"model": str(encoder), "tasks": tasks, "batch": 8, "precision": "fp32", "compile": "off",
             "optimizer": {"lr": STILL}, "budget": {"steps": 1}, "evaluations": 1}  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({"joint": joint, "run_dir": str(tmp_path / "run")}))
    assert main(["joint", str(tmp_path / "recipe.yaml")]) == 0
    folder = tmp_path / "run/joint/second/model"
    after = transformers.AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    torch.testing.assert_close(numbers(after), before, rtol=1e-4, atol=2e-3)

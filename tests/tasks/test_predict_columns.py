"""Which column of a new file ``danlu predict`` reads, where it is called otherwise than in training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from danlu import cli


@pytest.fixture
def model(encoder: Path, tmp_path: Path) -> Path:
    """A small BERT after a step, of a recipe that names its columns, as ``danlu init`` writes it."""
    rows = "".join(f"to be {number},{'ab'[number % 2]}\n" for number in range(24))
    (tmp_path / "train.csv").write_text(f"text,label\n{rows}")
    data = {"train": str(tmp_path / "train.csv"), "columns": {"text": "text", "label": "label"}}
    finetune = {"model": str(encoder), "data": data, "budget": {"steps": 1}, "compile": "off"}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({"run_dir": str(tmp_path / "run"), "finetune": finetune}))
    assert cli.main(["finetune", str(tmp_path / "r.yaml")]) == 0
    return tmp_path / "run/finetune/model"


def predicted(model: Path, file: Path, content: str, *columns: str) -> list[list[str]]:
    """The texts that were read, of each line."""
    file.write_text(content)
    out = file.with_suffix(".jsonl")
    assert cli.main(["predict", str(model), str(file), *columns, "--out", str(out)]) == 0
    return [json.loads(line)["texts"] for line in out.read_text().splitlines()]


def refusal(capfd: pytest.CaptureFixture[str], model: Path, file: Path, *columns: str) -> str:
    """The one line with which it ends; nothing is written."""
    capfd.readouterr()
    out = file.with_suffix(".none.jsonl")
    assert cli.main(["predict", str(model), str(file), *columns, "--out", str(out)]) == 2
    line = capfd.readouterr().err
    assert line.count("\n") == 1 and not out.exists()
    return line


def test_a_new_file_may_call_its_only_column_otherwise(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    expected = [["to be"], ["not once"]]
    assert predicted(model, tmp_path / "a.txt", "to be\nnot once\n") == expected
    assert predicted(model, tmp_path / "b.csv", "phrase\nto be\nnot once\n") == expected
    assert "no column 'frase'" in refusal(capfd, model, tmp_path / "b.csv", "text=frase")


def test_of_several_columns_it_has_to_be_said(model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    content = "phrase,other\nto be,x\nnot once,y\n"
    assert predicted(model, tmp_path / "c.csv", content, "text=phrase") == [["to be"], ["not once"]]
    said = refusal(capfd, model, tmp_path / "c.csv")
    assert "has no column 'text' (choices: phrase, other); say which it is behind the file: text=COLUMN" in said

"""Every recipe for a task does what it says, with a tiny model and a handful of examples."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from danlu.cli import main

RECIPES = Path(__file__).parents[2] / "recipes/tasks"
Rows = Sequence[dict[str, Any]]

CASES: list[tuple[str, str, Rows | str]] = [
    ("tag_en", "train.conll", "".join(f"To O\nbe O\n{number} O\na B-X\ntime I-X\n\n" for number in range(30))),
    ("tag_zh", "train.conll", "".join(f"从 O\n前 O\n{number} O\n天 B-地名\n下 I-地名\n\n" for number in range(30))),
    ("segment_en", "train.txt", "".join(f"to be {number} or not\n" for number in range(30))),
    ("segment_zh", "train.txt", "".join(f"话说 {number} 天下 大势\n" for number in range(30))),
    ("extract_en", "train.jsonl", [
        {"id": f"{number}", "question": "What is it?", "context": f"It was {number} times a sentence.",
         "answers": [{"text": "a sentence", "answer_start": 14 + len(str(number))}]}
        for number in range(30)
    ]),
    ("extract_zh", "train.jsonl", [
        {"id": f"{number}", "question": "从前有座什么？", "context": f"第{number}话说天下大势，从前有座山。",
         "answers": [{"text": "山", "answer_start": 12 + len(str(number))}]}
        for number in range(30)
    ]),
]  # fmt: skip
"""A recipe, the name of its file of examples, and what stands there: rows, or the text of the file."""


@pytest.mark.parametrize(("name", "file", "rows"), CASES, ids=[case[0] for case in CASES])
def test_a_recipe_runs_as_it_stands(name: str, file: str, rows: Rows | str, encoder: Path, tmp_path: Path) -> None:
    data, run = tmp_path / file, tmp_path / "run"
    write(data, rows)
    settings = {
        "data.train": data, "model": encoder, "task.max_tokens": 24, "budget.steps": 2, "precision": "fp32", "batch": 8,
        **({"task.stride": 4} if name.startswith("extract") else {}),
    }  # fmt: skip
    overrides = [f"finetune.{key}={value}" for key, value in settings.items()]
    assert main(["finetune", str(RECIPES / f"{name}.yaml"), f"run_dir={run}", *overrides]) == 0
    out = tmp_path / "answers.jsonl"
    assert main(["predict", str(run / "finetune/model"), str(data), "--out", str(out)]) == 0
    assert len(out.read_text(encoding="utf-8").splitlines()) == 30


def write(path: Path, rows: Rows | str) -> None:
    """The rows, in the form that the ending says."""
    if isinstance(rows, str):
        path.write_text(rows, encoding="utf-8")
        return
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writeheader()
        writer.writerows(rows)

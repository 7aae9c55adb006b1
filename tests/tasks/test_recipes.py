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

CASES: list[tuple[str, str, Rows]] = [
    ("choice_en", "train.jsonl", [
        {"question": f"Who is it, {number}?", "choices": ["to be", "a time", "not"], "answer": number % 3}
        for number in range(30)
    ]),
    ("choice_zh", "train.csv", [
        {"问题": f"从前有{number}座什么", "A": "山", "B": "天下", "C": "话", "D": "势", "答案": "ABCD"[number % 4]}
        for number in range(30)
    ]),
    ("relate_en", "train.jsonl", [
        {"sentence": f"<e1>To be</e1> {number} not <e2>a time</e2>", "relation": f"kind{number % 2}"}
        for number in range(30)
    ]),
    ("relate_zh", "train.csv", [
        {"文本": f"从前{number}有座山，话说天下", "主体": "山", "客体": "天下", "关系": "无" if number % 2 else "位于"}
        for number in range(30)
    ]),
    ("embed_en", "train.jsonl", [
        {"query": f"To be {number}", "positives": [f"not {number}", f"be {number}"], "negatives": ["a time"]}
        for number in range(30)
    ]),
    ("embed_zh", "train.jsonl", [{"查询": f"从前{number}", "正例": f"{number}座山"} for number in range(30)]),
    ("embed_pairs_en", "train.tsv", [
        {"sentence1": f"To be {number}", "sentence2": f"not {number}", "score": number % 5} for number in range(30)
    ]),
    ("embed_pairs_zh", "train.tsv", [
        {"句子1": f"从前{number}", "句子2": f"有座山{number}", "相似度": number % 5} for number in range(30)
    ]),
]  # fmt: skip
"""A recipe, the name of its file of examples, and what stands there."""


@pytest.mark.parametrize(("name", "file", "rows"), CASES, ids=[case[0] for case in CASES])
def test_a_recipe_runs_as_it_stands(name: str, file: str, rows: Rows, encoder: Path, tmp_path: Path) -> None:
    data, run = tmp_path / file, tmp_path / "run"
    write(data, rows)
    settings: dict[str, Any] = {
        "data.train": data, "model": encoder, "task.max_tokens": 24, "budget.steps": 2, "precision": "fp32", "batch": 8,
    }  # fmt: skip
    if name.startswith("embed_") and "pairs" not in name:
        settings["task.matryoshka"] = "[8]"  # of a model that is 32 wide
    overrides = [f"finetune.{key}={value}" for key, value in settings.items()]
    assert main(["finetune", str(RECIPES / f"{name}.yaml"), f"run_dir={run}", *overrides]) == 0
    out = tmp_path / "answers.jsonl"
    assert main(["predict", str(run / "finetune/model"), str(data), "--out", str(out)]) == 0
    assert len(out.read_text().splitlines()) == len(rows)


def write(path: Path, rows: Rows) -> None:
    """The rows, in the form that the ending says."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writeheader()
        writer.writerows(rows)

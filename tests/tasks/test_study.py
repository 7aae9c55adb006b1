"""The stage study: several fine-tunings of one recipe, each in its folder, and their figures together."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.torch import load_file

from danlu import cli

GOOD = ["to be is the question", "话说天下大势 to be", "once upon a time to be", "be there a sentence", "to be to be"]
BAD = ["or not that", "not the question or not", "从前有座山 not", "that was not a time", "not once not a sentence"]
ROWS = [(f"{text} {extra}", label) for extra in ("", "a", "be", "was", "to") for label, texts in
        (("good", GOOD), ("bad", BAD)) for text in texts]  # fmt: skip
COMMON = {"compile": "off", "precision": "fp32", "batch": 8, "optimizer": {"lr": 3e-3}, "budget": {"epochs": 2}}


def table(path: Path, rows: Sequence[Sequence[Any]] = ROWS, header: Sequence[str] = ("text", "label")) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def recipe(encoder: Path, tmp_path: Path) -> Callable[..., Path]:
    """``recipe(study, task=…, …)``: the path of one that varies the fine-tuning of the small BERT."""
    table(tmp_path / "train.csv")

    def write(study: Any, **settings: Any) -> Path:
        data = {"train": str(tmp_path / "train.csv"), **settings.pop("data", {})}
        section = {"model": str(encoder), "task": "classify", "data": data, **COMMON, **settings}
        path = tmp_path / "recipe.yaml"
        run = {"run_dir": str(tmp_path / "run"), "seed": 3}
        path.write_text(yaml.safe_dump({"finetune": section, "study": study, **run}))
        return path

    return write


def test_seeds_differ_and_their_figures_are_those_of_numpy(
    recipe: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recipe({"use": "seeds", "count": 3}, optimizer={"lr": 1e-3}, data={"test_share": 0.2})
    assert cli.main(["study", str(path)]) == 0
    said = capsys.readouterr().out
    out = tmp_path / "run/study"
    found = read(out / "study.json")
    assert [each["name"] for each in found["variations"]] == ["seed-3", "seed-4", "seed-5"]
    values = [read(out / each["name"] / "test.json")["figures"]["accuracy"] for each in found["variations"]]
    spread = found["spread"]["test.accuracy"]
    assert spread == pytest.approx({
        "mean": np.mean(values), "std": np.std(values, ddof=1), "least": min(values), "greatest": max(values),
        "count": 3,
    })  # fmt: skip
    assert f"test.accuracy of 3 seeds: mean {np.mean(values):.4f}" in said
    figures = read(out / "done.json")["figures"]
    assert figures["trainings"] == 3 and figures["test.accuracy.std"] == pytest.approx(np.std(values, ddof=1), abs=1e-6)
    heads = [load_file(out / f"seed-{seed}/model/model.safetensors")["classifier.weight"] for seed in (3, 4, 5)]
    assert not any((first == later).all() for first, later in zip(heads, heads[1:], strict=False))
    texts = [[line["texts"] for line in lines(out / f"seed-{seed}/test.predictions.jsonl")] for seed in (3, 4, 5)]
    assert texts[0] == texts[1] == texts[2]

"""Models that tests of serving share: small ones, after a step or two of training."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from danlu import cli

sys.path.insert(0, str(Path(__file__).parent))

from served_rows import ROWS


@pytest.fixture(scope="session")
def folders(whole_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model's folder by task."""
    found = {}
    for task, rows in ROWS.items():
        out = tmp_path_factory.mktemp(task)
        (out / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        columns = {"text": "review", "label": "stars"} if task == "classify" else {}
        section = {"model": str(whole_encoder), "task": task, "budget": {"steps": 2}, "compile": "off",
                   "data": {"train": str(out / "train.jsonl"), "columns": columns}}  # fmt: skip
        (out / "r.yaml").write_text(yaml.safe_dump({"run_dir": str(out / "run"), "finetune": section}))
        assert cli.main(["finetune", str(out / "r.yaml")]) == 0
        found[task] = out / "run/finetune/model"
    return found

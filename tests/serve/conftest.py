"""Models that tests of serving share: small ones, after a step or two of training."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from danlu import cli

sys.path.insert(0, str(Path(__file__).parent))

from served_rows import COLUMNS, ROWS


@pytest.fixture(scope="session")
def folder_of(
    whole_encoder: Path, whole_decoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """A model's folder by task, trained when it is asked for."""

    @cache
    def made(task: str) -> Path:
        out = tmp_path_factory.mktemp(task)
        model, rows = (whole_encoder, ROWS[task]) if task in ROWS else (whole_decoder, CHATS[task])
        (out / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        settings: Any = {"use": task, **SETTINGS.get(task, {})}
        data = {"train": str(out / "train.jsonl"), "columns": COLUMNS.get(task, {}), "mend": True}
        section = {"model": str(model), "task": settings, "budget": {"steps": 2}, "compile": "off", "data": data}
        (out / "r.yaml").write_text(yaml.safe_dump({"run_dir": str(out / "run"), "finetune": section}))
        assert cli.main(["finetune", str(out / "r.yaml")]) == 0
        return out / "run/finetune/model"

    return made


SETTINGS: dict[str, dict[str, Any]] = {
    "chat": {"template": "plain", "answer_tokens": 4},
    "reward": {"template": "plain"},
    "seq2seq": {"max_tokens": 40, "answer_tokens": 4},
}
CHATS: dict[str, list[dict[str, Any]]] = {
    "chat": [{"instruction": f"to be {number}", "response": "or not", "system": "Once"} for number in range(12)],
    "reward": [{"prompt": f"to be {number}", "chosen": "or not", "rejected": "that is"} for number in range(12)],
    "seq2seq": [{"source": f"to be {number}", "target": "or not"} for number in range(12)],
}

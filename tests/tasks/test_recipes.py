from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from danlu.cli import main

RECIPES = Path(__file__).parents[2] / "recipes" / "tasks"
CHATS = [{"instruction": f"第 {number} 问?", "input": "", "output": f"Once {number}."} for number in range(12)]
SMALL = ["finetune.budget={steps: 2}", "finetune.batch=4", "finetune.task.max_tokens=96", "finetune.evaluations=1"]

CASES: list[tuple[str, str, list[dict[str, Any]], list[str]]] = [
    ("chat_en", "decoder", CHATS, ["finetune.task.template=plain", "finetune.task.answer_tokens=4"]),
    ("chat_zh", "decoder", CHATS, ["finetune.task.template=plain", "finetune.task.answer_tokens=4"]),
    ("chat_lora_en", "decoder", CHATS, ["finetune.task.template=plain", "finetune.task.answer_tokens=4"]),
    ("chat_lora_zh", "decoder", CHATS, ["finetune.task.template=plain", "finetune.task.answer_tokens=4"]),
]
"""A recipe, the fixture with its model, rows of its data, and what else is changed for so small a model."""


@pytest.mark.parametrize(("name", "model", "rows", "changes"), CASES, ids=[case[0] for case in CASES])
def test_runs_at_small_scale(
    name: str,
    model: str,
    rows: list[dict[str, Any]],
    changes: list[str],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    folder = request.getfixturevalue(model)
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    given = [f"run_dir={tmp_path / 'run'}", f"finetune.data={data}", f"finetune.model={folder}"]
    assert main(["finetune", str(RECIPES / f"{name}.yaml"), *given, *SMALL, *changes]) == 0
    assert (
        main(
            ["predict", str(tmp_path / "run" / "finetune" / "model"), str(data), "--out", str(tmp_path / "said.jsonl")]
        )
        == 0
    )
    assert len((tmp_path / "said.jsonl").read_text().splitlines()) == len(rows)

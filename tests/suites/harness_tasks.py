"""Tasks of lm-evaluation-harness, its own files, on rows that lie here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lm_eval
import yaml
from lm_eval.tasks import TaskManager

TASKS = Path(lm_eval.__file__).parent / "tasks"

ROWS: dict[str, list[dict[str, Any]]] = {
    "lambada": [
        {"text": "The king looked at the river. He had never seen such a river"},
        {"text": 'She said: "Where is\nthe old man?" And nobody saw the old man'},
        {"text": "Once upon a time there was a sentence, and after it there was one more sentence"},
    ],
    "blimp": [
        {"sentence_good": "Who should Derek hug?", "sentence_bad": "Who should Derek hug Richard?",
         "linguistics_term": "island_effects", "UID": "adjunct_island"},
        {"sentence_good": "To be is the question.", "sentence_bad": "To be are the question.",
         "linguistics_term": "island_effects", "UID": "adjunct_island"},
        {"sentence_good": "same", "sentence_bad": "same",
         "linguistics_term": "island_effects", "UID": "adjunct_island"},
    ],
    "zhoblimp": [
        {"sentence_good": "你把杯子打碎了，就去。", "sentence_bad": "杯子被你打碎了，就去。",
         "phenomenon": "BA", "UID": "BA_deletion"},
        {"sentence_good": "从前有座山。", "sentence_bad": "从前山有座。", "phenomenon": "BA", "UID": "BA_deletion"},
    ],
    "copa": [
        {"premise": "The man turned on the faucet.", "choice1": "The toilet filled.", "choice2": "Water flowed.",
         "question": "effect", "label": 1},
        {"premise": "The woman retired. ", "choice1": "She was old.", "choice2": "It rained.", "question": "cause",
         "label": 0},
    ],
    "piqa": [
        {"goal": "How do I open a jar?", "sol1": "With my hands", "sol2": "By asking the river", "label": 0},
        {"goal": "Make a sentence", "sol1": "sing", "sol2": "put words behind each other", "label": 1},
        {"goal": "Make time ", "sol1": "to be", "sol2": "or not to be", "label": 1},
    ],
    "arc": [
        {"question": "Which is a sentence?", "choices": {"text": ["this is", "that", "sun", "be"],
         "label": ["A", "B", "C", "D"]}, "answerKey": "A"},
        {"question": "Where is the sun?", "choices": {"text": ["up", "down there"], "label": ["1", "2"]},
         "answerKey": "2"},
    ],
    "boolq": [
        {"passage": "Once upon a time there was a river.", "question": "was there a river", "label": 1},
        {"passage": "To be.\nOr not.", "question": "is it a question", "label": 0},
    ],
    "winogrande": [
        {"sentence": "Sarah was better than Maria so _ got the easier cases.", "option1": "Sarah", "option2": "Maria",
         "answer": "2"},
        {"sentence": "The sun saw the river because _ was up.", "option1": "the sun", "option2": "the river",
         "answer": "1"},
    ],
    "cmmlu": [
        {"Question": " 话说天下大势，如何？", "A": "分久", "B": "合久", "C": "从前", "D": "有座山", "Answer": "B"},
        {"Question": "从前有什么？", "A": "山", "B": "河", "C": "势", "D": "下", "Answer": "A"},
    ],
    "ceval": [
        {"question": "话说天下大势，如何？", "A": "分", "B": "合", "C": "从前", "D": "有座山", "answer": "D"},
    ],
}  # fmt: skip
SHOTS: list[dict[str, Any]] = [
    {"Question": "山在哪里？ ", "A": "上", "B": "下", "C": "前", "D": "后", "Answer": "C"},
    {"Question": "谁从前？", "A": "山", "B": "座", "C": "有", "D": "一", "Answer": "A"},
    {"Question": "第三？", "A": "1", "B": "2", "C": "3", "D": "4", "Answer": "C"},
]
FILES = {
    "lambada": "lambada/lambada_openai.yaml", "blimp": "blimp/adjunct_island.yaml",
    "zhoblimp": "zhoblimp/BA_deletion.yaml", "copa": "super_glue/copa/default.yaml", "piqa": "piqa/piqa.yaml",
    "arc": "arc/arc_easy.yaml", "boolq": "super_glue/boolq/default.yaml", "winogrande": "winogrande/default.yaml",
    "cmmlu": "cmmlu/cmmlu_agronomy.yaml", "ceval": "ceval/ceval-valid_accountant.yaml",
}  # fmt: skip
"""The harness's own, by our name of the suite."""


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def make_task(name: str, folder: Path, *, shots: int = 0) -> Any:
    """The harness's task with its own prompts, on the rows above."""
    file = str(write_rows(folder / f"{name}.jsonl", ROWS[name]))
    files = dict.fromkeys(("train", "validation", "val", "test"), file)
    if shots:
        files["dev"] = str(write_rows(folder / f"{name}_dev.jsonl", SHOTS))
    elif name in ("cmmlu", "ceval"):
        files["dev"] = file
    config = {
        "include": str(TASKS / FILES[name]), "task": f"local_{name}", "dataset_path": "json", "dataset_name": None,
        "dataset_kwargs": {"data_files": files, "cache_dir": str(folder / "cache")}, "num_fewshot": shots,
    }  # fmt: skip
    (folder / "tasks").mkdir(exist_ok=True)
    path = folder / "tasks" / f"local_{name}.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    manager = TaskManager(include_path=str(path.parent), include_defaults=False)
    return manager.load([f"local_{name}"])["tasks"][f"local_{name}"]

"""Every recipe for a task does what it says, with a tiny model and a handful of examples."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from danlu.cli import main

RECIPES = Path(__file__).parents[2] / "recipes/tasks"
Rows = Sequence[dict[str, Any]]
TEXTS = 30


class Case(NamedTuple):
    """A recipe, and what it is tried with."""

    name: str
    file: str
    """Of the examples."""
    rows: Rows | str
    """What stands there: rows, or the text of the file."""
    model: str = "encoder"
    """The fixture that makes it."""
    max_tokens: int = 24
    settings: tuple[str, ...] = ()
    """Others for so small a model."""

    @property
    def examples(self) -> int:
        return TEXTS if isinstance(self.rows, str) else len(self.rows)


CHATS = [{"instruction": f"第 {number} 问?", "input": "", "output": f"Once {number}."} for number in range(12)]
JUDGED = [
    {
        "prompt": f"第 {number} 问?",
        "chosen": f"Once {number}.",
        "rejected": "no",
        "response": "话说",
        "good": number % 2,
    }
    for number in range(12)
]
SHORT = ("task.answer_tokens=8",)
SAID = ("task.template=plain", "task.answer_tokens=4")
REWARDED = (*SAID, "task.group=2")
REVIEWS = [{"review": f"to be {number}", "stars": ["bad", "good"][number % 2]} for number in range(30)]
CASES = [
    Case("classify_en", "train.csv", REVIEWS),
    Case("classify_zh", "train.csv", [{"评论": f"从前{number}", "情感": "好坏"[number % 2]} for number in range(30)]),
    Case("classify_long_en", "train.csv", [
        {"document": f"to be {number} or not {'once upon a time ' * 8}", "topic": "ab"[number % 2]}
        for number in range(30)
    ]),
    Case("classify_long_zh", "train.csv", [
        {"正文": f"{number}{'从前有座山，' * 9}", "类别": "甲乙"[number % 2]} for number in range(30)
    ]),
    Case("pair_en", "train.tsv", [
        {"premise": f"to be {number}", "hypothesis": "a time", "label": "abc"[number % 3]} for number in range(30)
    ]),
    Case("pair_zh", "train.tsv", [
        {"句子1": f"从前{number}", "句子2": "有座山", "标签": "甲乙"[number % 2]} for number in range(30)
    ]),
    Case("similarity_en", "train.tsv", [
        {"sentence1": f"to be {number}", "sentence2": "a time", "score": number / 6} for number in range(30)
    ]),
    Case("similarity_zh", "train.tsv", [
        {"句子1": f"从前{number}", "句子2": "有座山", "分数": number / 6} for number in range(30)
    ]),
    Case("multi_label_en", "train.jsonl", [
        {"text": f"to be {number}", "labels": ["a", "b"][: number % 3]} for number in range(30)
    ]),
    Case("multi_label_zh", "train.csv", [
        {"文本": f"从前{number}", "标签": "甲|乙" if number % 2 else "甲"} for number in range(30)
    ], settings=("task.class_weights={乙: 2}",)),
    Case("regress_en", "train.csv", [{"review": f"to be {number}", "score": number / 3} for number in range(30)]),
    Case("regress_zh", "train.csv", [{"评论": f"从前{number}", "评分": number / 3} for number in range(30)]),
    Case("choice_en", "train.jsonl", [
        {"question": f"Who is it, {number}?", "choices": ["to be", "a time", "not"], "answer": number % 3}
        for number in range(30)
    ]),
    Case("choice_zh", "train.csv", [
        {"问题": f"从前有{number}座什么", "A": "山", "B": "天下", "C": "话", "D": "势", "答案": "ABCD"[number % 4]}
        for number in range(30)
    ]),
    Case("relate_en", "train.jsonl", [
        {"sentence": f"<e1>To be</e1> {number} not <e2>a time</e2>", "relation": f"kind{number % 2}"}
        for number in range(30)
    ]),
    Case("relate_zh", "train.csv", [
        {"文本": f"从前{number}有座山，话说天下", "主体": "山", "客体": "天下", "关系": "无" if number % 2 else "位于"}
        for number in range(30)
    ]),
    Case("embed_en", "train.jsonl", [
        {"query": f"To be {number}", "positives": [f"not {number}", f"be {number}"], "negatives": ["a time"]}
        for number in range(30)
    ], settings=("task.matryoshka=[8]",)),  # of a model that is 32 wide
    Case("embed_zh", "train.jsonl", [{"查询": f"从前{number}", "正例": f"{number}座山"} for number in range(30)],
         settings=("task.matryoshka=[8]",)),
    Case("embed_pairs_en", "train.tsv", [
        {"sentence1": f"To be {number}", "sentence2": f"not {number}", "score": number % 5} for number in range(30)
    ]),
    Case("embed_pairs_zh", "train.tsv", [
        {"句子1": f"从前{number}", "句子2": f"有座山{number}", "相似度": number % 5} for number in range(30)
    ]),
    *(Case(name, "train.jsonl", CHATS, "decoder", 96, SAID)
      for name in ("chat_en", "chat_zh", "chat_lora_en", "chat_lora_zh")),
    *(Case(name, "train.jsonl", [
        {one: f"once {number}", other: ["话说"] if other == "keywords" else f"话说 {number}。"}
        for number in range(12)
    ], "decoder", 64, SHORT) for name, one, other in (
        ("translate_en", "en", "de"), ("translate_zh", "en", "zh"), ("summarise_en", "document", "summary"),
        ("summarise_zh", "document", "summary"), ("keywords_en", "abstract", "keywords"),
        ("keywords_zh", "abstract", "keywords"),
    )),
    Case("prompt_en", "train.csv", REVIEWS, max_tokens=20, settings=("method.tokens=4",)),
    Case("prefix_zh", "train.jsonl", [{"正文": f"从前 {number}", "标题": f"话说 {number}"} for number in range(12)],
         "decoder", 40, SHORT),
    *(Case(name, "train.jsonl", JUDGED, "decoder", 96, ("task.template=plain",)) for name in (
        "prefer_en", "prefer_zh", "reward_en", "reward_zh", "feedback_en", "feedback_zh",
    )),
    Case("grpo_en", "train.jsonl", [{"question": f"1 + {number}?", "answer": 1 + number} for number in range(12)],
         "decoder", 64, REWARDED),
    Case("grpo_zh", "train.jsonl", [{"问题": f"{number} 加 1？", "答案": f"{1 + number}"} for number in range(12)],
         "decoder", 64, REWARDED),
    Case("tag_en", "train.conll", "".join(f"To O\nbe O\n{number} O\na B-X\ntime I-X\n\n" for number in range(TEXTS))),
    Case("tag_zh", "train.conll", "".join(f"从 O\n{number} O\n天 B-地名\n下 I-地名\n\n" for number in range(TEXTS))),
    Case("segment_en", "train.txt", "".join(f"to be {number} or not\n" for number in range(TEXTS))),
    Case("segment_zh", "train.txt", "".join(f"话说 {number} 天下 大势\n" for number in range(TEXTS))),
    Case("extract_en", "train.jsonl", [
        {"id": f"{number}", "question": "What is it?", "context": f"It was {number} times a sentence.",
         "answers": [{"text": "a sentence", "answer_start": 14 + len(str(number))}]}
        for number in range(30)
    ], settings=("task.stride=4",)),
    Case("extract_zh", "train.jsonl", [
        {"id": f"{number}", "question": "从前有座什么？", "context": f"第{number}话说天下大势，从前有座山。",
         "answers": [{"text": "山", "answer_start": 12 + len(str(number))}]}
        for number in range(30)
    ], settings=("task.stride=4",)),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_recipe_runs_as_it_stands(
    case: Case, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(RECIPES.parents[1])  # from where a recipe names what lies beside it
    data, run = tmp_path / case.file, tmp_path / "run"
    write(data, case.rows)
    settings = {
        "data.train": data, "model": request.getfixturevalue(case.model), "task.max_tokens": case.max_tokens,
        "budget": "{steps: 2}", "precision": "fp32", "batch": 4, "evaluations": 1,
    }  # fmt: skip
    overrides = [f"finetune.{key}={value}" for key, value in settings.items()]
    overrides += [f"finetune.{each}" for each in case.settings]
    assert main(["finetune", str(RECIPES / f"{case.name}.yaml"), f"run_dir={run}", *overrides]) == 0
    out = tmp_path / "answers.jsonl"
    assert main(["predict", str(run / "finetune/model"), str(data), "--out", str(out)]) == 0
    assert len(out.read_text().splitlines()) == case.examples


def test_every_recipe_is_tried() -> None:
    assert {path.stem for path in RECIPES.glob("*.yaml")} == {case.name for case in CASES}


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

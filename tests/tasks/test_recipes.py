"""Every recipe for a task does what it says, with a tiny model and a handful of examples."""

from __future__ import annotations

import csv
import json
import re
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
    """The fixture that makes it; none where it is drawn."""
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
COMMENTS = [{"评论": f"从前{number}", "情感": "好坏"[number % 2]} for number in range(30)]
PAIRS = [{"句子1": f"从前{number}", "句子2": "有座山", "标签": "甲乙"[number % 2]} for number in range(30)]
TIMES = "".join(f"To O\nbe O\n{number} O\na B-X\ntime I-X\n\n" for number in range(TEXTS))
PLACES = "".join(f"从 O\n{number} O\n天 B-地名\n下 I-地名\n\n" for number in range(TEXTS))
CASES = [
    Case("classify_en", "train.csv", REVIEWS),
    Case("classify_zh", "train.csv", COMMENTS),
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
    Case("pair_zh", "train.tsv", PAIRS),
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
      for name in ("chat_en", "chat_zh", "chat_lora_en", "chat_lora_zh", "chat_qlora_en", "chat_qlora_zh")),
    *(Case(name, "train.jsonl", [
        {one: f"once {number}", other: ["话说"] if other == "keywords" else f"话说 {number}。"}
        for number in range(12)
    ], "decoder", 64, SHORT) for name, one, other in (
        ("translate_en", "en", "de"), ("translate_zh", "en", "zh"), ("summarise_en", "document", "summary"),
        ("summarise_zh", "document", "summary"), ("keywords_en", "abstract", "keywords"),
        ("keywords_zh", "abstract", "keywords"),
    )),
    *(Case(f"translate_scratch_{to}", "train.jsonl", [
        {"en": f"once {number}", other: f"话说 {number}。"} for number in range(12)
    ], "", 64, (*SHORT, "model.family={use: t5, layers: 1, dim: 16}", "model.tokenizer.vocab_size=400"))
      for to, other in (("en", "de"), ("zh", "zh"))),
    Case("bitfit_en", "train.csv", REVIEWS),
    Case("bitfit_zh", "train.tsv", PAIRS),
    Case("frozen_en", "train.csv", REVIEWS, settings=("method.layers=1",)),
    Case("frozen_zh", "train.conll", PLACES, settings=("method.layers=1",)),
    Case("prompt_en", "train.csv", REVIEWS, max_tokens=20, settings=("method.tokens=4",)),
    Case("prompt_zh", "train.csv", COMMENTS, max_tokens=20, settings=("method.tokens=4",)),
    Case("prefix_en", "train.jsonl", [{"article": f"once {number}", "title": f"be {number}"} for number in range(12)],
         "decoder", 40, SHORT),
    Case("prefix_zh", "train.jsonl", [{"正文": f"从前 {number}", "标题": f"话说 {number}"} for number in range(12)],
         "decoder", 40, SHORT),
    *(Case(name, "train.jsonl", JUDGED, "decoder", 96, ("task.template=plain",)) for name in (
        "prefer_en", "prefer_zh", "reward_en", "reward_zh", "feedback_en", "feedback_zh",
    )),
    Case("grpo_en", "train.jsonl", [{"question": f"1 + {number}?", "answer": 1 + number} for number in range(12)],
         "decoder", 64, REWARDED),
    Case("grpo_zh", "train.jsonl", [{"问题": f"{number} 加 1？", "答案": f"{1 + number}"} for number in range(12)],
         "decoder", 64, REWARDED),
    Case("tag_en", "train.conll", TIMES),
    Case("tag_zh", "train.conll", PLACES),
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
        **({"model": request.getfixturevalue(case.model)} if case.model else {}), "data.train": data,
        "task.max_tokens": case.max_tokens, "budget": "{steps: 2}", "precision": "fp32", "batch": 4, "evaluations": 1,
    }  # fmt: skip
    overrides = [f"finetune.{key}={value}" for key, value in settings.items()]
    overrides += [f"finetune.{each}" for each in case.settings]
    assert main(["finetune", str(RECIPES / f"{case.name}.yaml"), f"run_dir={run}", *overrides]) == 0
    out = tmp_path / "answers.jsonl"
    assert main(["predict", str(run / "finetune/model"), str(data), "--out", str(out)]) == 0
    assert len(out.read_text().splitlines()) == case.examples


SMALL = {"precision": "fp32", "batch": 4, "budget": "{steps: 2}", "evaluations": 1}
OFFERS = [{"offer": f"to be {number}", "price": number / 3} for number in range(30)]
JOINT: dict[str, dict[str, tuple[str, Rows | str]]] = {
    "joint_en": {
        "sentiment": ("reviews.csv", REVIEWS), "price": ("offers.csv", OFFERS), "entities": ("entities.conll", TIMES),
    },
    "joint_zh": {
        "sentiment": ("reviews.csv", COMMENTS), "pairs": ("pairs.tsv", PAIRS), "entities": ("entities.conll", PLACES),
    },
}  # fmt: skip


JOINT_TEXT: dict[str, dict[str, tuple[str, Rows | str]]] = {
    f"joint_text_{to}": {
        "translate": ("en_de.tsv" if to == "en" else "en_zh.tsv", [
            {"en": f"once {number}", "de" if to == "en" else "zh": f"话说 {number}。"} for number in range(TEXTS)
        ]),
        "summarise" if to == "en" else "title": ("articles.jsonl" if to == "en" else "articles_zh.jsonl", [
            {"document": f"once {number}", "summary": f"be {number}"} for number in range(TEXTS)
        ]),
    }
    for to in ("en", "zh")
}  # fmt: skip


@pytest.mark.parametrize("name", JOINT)
def test_a_recipe_of_several_tasks_runs_as_it_stands(
    name: str, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the folder that its files are in, as it names them."""
    monkeypatch.chdir(tmp_path)
    run_joint(name, JOINT[name], encoder, {"max_tokens": 24})


@pytest.mark.parametrize("name", JOINT_TEXT)
def test_a_recipe_of_several_prefixes_runs_as_it_stands(
    name: str, answerer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_joint(name, JOINT_TEXT[name], answerer, {"max_tokens": 64, "answer_tokens": 8})


def run_joint(name: str, files: dict[str, tuple[str, Rows | str]], model: Path, task: dict[str, int]) -> None:
    """Train by the recipe in the folder where this is, and answer each task's file.

    Args:
        task: settings of each for so small a model.
    """
    Path("data").mkdir()
    for file, rows in files.values():
        write(Path("data") / file, rows)
    overrides = [f"joint.{key}={value}" for key, value in {**SMALL, "model": model}.items()]
    overrides += [f"joint.tasks.{each}.task.{key}={value}" for each in files for key, value in task.items()]
    assert main(["joint", str(RECIPES / f"{name}.yaml"), "run_dir=run", *overrides]) == 0
    for each, (file, _) in files.items():
        assert main(["predict", f"run/joint/{each}/model", f"data/{file}", "--out", f"{each}.jsonl"]) == 0
        assert len(Path(f"{each}.jsonl").read_text().splitlines()) == TEXTS


STUDIES = {
    "": ["fold-1", "fold-2"],
    "study={use: seeds, count: 3}": ["seed-1", "seed-2"],
    "study={use: learning_curve, shares: [0.1, 0.25, 0.5, 1.0], seeds: 3}": ["share-0.5-seed-1", "share-1-seed-1"],
}
"""What the head of the recipe says beside it, and folders that are then there."""


@pytest.mark.parametrize(("name", "rows"), [("study_en", REVIEWS), ("study_zh", COMMENTS)])
@pytest.mark.parametrize("study", STUDIES)
def test_a_recipe_of_a_study_runs_as_it_stands(
    study: str, name: str, rows: Rows, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    write(tmp_path / "data/train.csv", rows)
    path = RECIPES / f"{name}.yaml"
    assert study in path.read_text(encoding="utf-8")
    overrides = [f"finetune.{key}={value}" for key, value in {**SMALL, "model": encoder, "task.max_tokens": 24}.items()]
    fewer = {"folds": "study.k=2", "learning_curve": "study.seeds=1"}
    overrides += [*filter(None, [study]), *(less for kind, less in fewer.items() if kind in (study or "folds"))]
    assert main(["study", str(path), f"run_dir={tmp_path / 'run'}", *overrides]) == 0
    assert all((tmp_path / "run/study" / each / "model").is_dir() for each in STUDIES[study])


ADAPTED = {
    "adapt_domain_en": ("decoder", {"domain/manual.txt": "to be or not", "general/a.txt": "once upon a time"}),
    "adapt_domain_zh": ("decoder", {"domain/手册.txt": "话说天下大势", "general/a.txt": "从前有座山"}),
    "adapt_task_en": ("masked_encoder", {"reviews.txt": "to be or not", "general.txt": "once upon a time"}),
    "adapt_task_zh": ("masked_encoder", {"reviews.txt": "话说天下大势", "general.txt": "从前有座山"}),
}
"""The fixture that makes the model, and texts of which there are many in each file."""


@pytest.mark.parametrize("name", ADAPTED)
def test_a_recipe_that_goes_on_pretraining_runs_as_it_stands(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both texts are measured before and after; the one for a task then learns it from what came out."""
    monkeypatch.chdir(tmp_path)
    fixture, files = ADAPTED[name]
    folder = request.getfixturevalue(fixture)
    domain, task = fixture == "decoder", name.startswith("adapt_task")
    for file, text in files.items():
        path = tmp_path / ("data/text" if domain else "data") / file
        path.parent.mkdir(parents=True, exist_ok=True)
        # The recipes of a domain cut a file after some 4000 characters, that is eleven times.
        many = 46_000 // (len(text) + 5) if domain else 40
        path.write_text("".join(f"{text} {number}\n\n" for number in range(many)), encoding="utf-8")
    if task:
        write(tmp_path / "data/train.csv", REVIEWS if name.endswith("en") else COMMENTS)
    settings = {
        "tokenizer.path": folder, "pretrain.model.path": folder, "pretrain.sequence": 16, "pack.split.fraction": 0.3,
        **{f"pretrain.{key}": value for key, value in SMALL.items()},
        **({f"finetune.{key}": value for key, value in {**SMALL, "task.max_tokens": 24}.items()} if task else {}),
    }  # fmt: skip
    overrides = [f"{key}={value}" for key, value in settings.items()]
    assert main(["run", str(RECIPES / f"{name}.yaml"), f"run_dir={tmp_path / 'run'}", *overrides]) == 0
    texts = json.loads((tmp_path / "run/evaluate/forgetting.json").read_text())["texts"]
    assert texts.keys() == {"domain" if domain else "reviews", "general"}
    assert not domain or all(text["change_95"] is not None for text in texts.values())  # of several documents each
    if task:
        done = json.loads((tmp_path / "run/finetune/done.json").read_text())
        assert "pretrain" in done["made_from"]["inputs"]
        out = tmp_path / "answers.csv"
        assert main(["predict", "run/finetune/model", "data/train.csv", "--out", str(out)]) == 0


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_files_of_a_recipe_are_of_one_kind(path: Path) -> None:
    """A test in a comment is like train."""
    text = path.read_text(encoding="utf-8")
    named = re.findall(r"^ *(?:# )?(?:train|test|dev): \S*?(\.\w+)(?: |$)", text, re.MULTILINE)
    assert len(set(named)) <= 1


def test_every_recipe_is_tried() -> None:
    known = {*(case.name for case in CASES), *JOINT, *JOINT_TEXT, "study_en", "study_zh", *ADAPTED}
    assert {path.stem for path in RECIPES.glob("*.yaml")} == known


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

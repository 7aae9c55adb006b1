"""The report of fine-tunings: of real small ones through the command line, and of made-up predictions."""

from __future__ import annotations

import csv
import html
import itertools
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from sklearn.metrics import f1_score

from danlu import cli
from danlu.evaluate import finetuned
from danlu.evaluate.browser import MOST, MOST_CHARACTERS, worst_examples
from danlu.evaluate.predictions import Prediction
from danlu.files import read_jsonl
from danlu.recipe import load_recipe
from danlu.run_folder import RunFolder

NASTY = '<img src=x onerror=alert(1)> | `x` & "quoted"'
TEXTS = ["to be", "or not to be", "that is the question", "once upon a time", "话说天下大势", "从前有座山", NASTY]


@pytest.fixture
def finetune(encoder: Path, tmp_path: Path) -> Callable[..., Path]:
    """``finetune(rows, header, task)``: the run folder of the small BERT, trained on them for a few steps."""

    def run(rows: Sequence[Sequence[Any]], header: Sequence[str], task: str) -> Path:
        with (tmp_path / "train.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([header, *rows])
        section = {
            "model": str(encoder), "task": task, "precision": "fp32", "batch": 8, "budget": {"steps": 6},
            "data": {"train": str(tmp_path / "train.csv"), "dev_share": 0.3}, "optimizer": {"lr": 1e-3},
        }  # fmt: skip
        (tmp_path / "try.yaml").write_text(yaml.safe_dump({"finetune": section, "run_dir": str(tmp_path / "run")}))
        assert cli.main(["run", str(tmp_path / "try.yaml")]) == 0
        return tmp_path / "run"

    return run


def labelled() -> list[tuple[str, str]]:
    return [(f"{text} {n}", ("good", "bad", "goood" if n == 3 else "so so")[(n + place) % 3])
            for n in range(8) for place, text in enumerate(TEXTS)] + [("or not to be 0", "bad")] * 2  # fmt: skip


def texts_of(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def test_the_report_of_a_classification(finetune: Callable[..., Path]) -> None:
    run = finetune(labelled(), ("text", "label"), "classify")
    page = (run / "report.html").read_text(encoding="utf-8")
    text = texts_of(page)
    lines = read_jsonl(run / "finetune/dev.predictions.jsonl")
    gold, said = [line["gold"] for line in lines], [line["prediction"] for line in lines]
    macro = f1_score(gold, said, average="macro", zero_division=0)
    assert re.search(rf"macro F1 {macro:.3f} \d\.\d{{3}}–\d\.\d{{3}}", text)
    low, high = json.loads((run / "finetune/dev.json").read_text())["intervals"]["accuracy"]
    assert f"{low:.3f}–{high:.3f}" in text
    for wanted in ("for the task classify, fine-tuned on", "Accuracy on dev", "Loss of the fine-tuning", "Dev by label",
                   "Dev by characters", "Most often confused", "Worst examples", "What may be wrong with it",
                   "'goood'", "calibration error"):  # fmt: skip
        assert wanted in text, wanted
    assert "micro F1" not in text, "of one label a text it is the accuracy"
    wrong = [line for line in lines if line["prediction"] != line["gold"]]
    assert f"dev: {len(wrong)} of {len(lines)} are not right." in text
    assert page.count('<li class="example"') == len(wrong)
    assert "<img" not in page and html.escape(NASTY, quote=False) in page.replace("&#34;", '"')
    assert re.findall(r"<script", page) == ["<script"]
    assert set(re.findall(r"https?://[^\s\"'<]+", page)) == {"http://www.w3.org/2000/svg"}
    markdown = (run / "report.md").read_text(encoding="utf-8")
    assert "![Confusion on dev](report/confusion.svg)" in markdown and (run / "report/confusion.svg").exists()
    assert "<img" not in markdown.replace("\\<img", "")
    assert all(before == "" for before, line in itertools.pairwise(markdown.splitlines()) if line.startswith("## "))


def test_of_numbers_the_largest_errors_come_first(finetune: Callable[..., Path]) -> None:
    rows = [(f"{text} {n}", f"{place + n / 10}") for n in range(8) for place, text in enumerate(TEXTS)]
    run = finetune(rows, ("text", "number"), "regress")
    lines = read_jsonl(run / "finetune/dev.predictions.jsonl")
    for line in lines:
        assert line["figures"] == {
            "mean_absolute_error": pytest.approx(abs(line["gold"] - line["prediction"]), abs=2e-6)
        }
    lines.sort(key=lambda line: -line["figures"]["mean_absolute_error"])
    page = (run / "report.html").read_text(encoding="utf-8")
    places = re.findall(r'<p class="place">train.csv, line (\d+)</p>', page)
    assert [int(place) for place in places] == [line["line"] for line in lines]
    assert "Confusion" not in page and "Pearson" in texts_of(page)


def test_of_several_labels_each_example_has_its_own_f1(finetune: Callable[..., Path]) -> None:
    rows = [(f"{text} {n}", ("a|b", "b", "c|a")[(n + place) % 3]) for n in range(8) for place, text in enumerate(TEXTS)]
    run = finetune(rows, ("text", "labels"), "multi_label")
    for line in read_jsonl(run / "finetune/dev.predictions.jsonl"):
        both = len(set(line["gold"]) & set(line["prediction"]))
        f1 = 2 * both / (len(line["gold"]) + len(line["prediction"]))
        assert line["figures"] == {"micro.f1": pytest.approx(f1, abs=1e-6)}
    text = texts_of((run / "report.html").read_text(encoding="utf-8"))
    assert "micro F1" in text and "Micro F1 on dev" in text


def test_each_task_of_a_joint_training_has_its_sections_and_can_be_compared(encoder: Path, tmp_path: Path) -> None:
    numbers = [(text, f"{len(text)}") for text, _ in labelled()]
    tasks = {}
    for name, header, rows in (("mood", "label", labelled()), ("size", "number", numbers)):
        with (tmp_path / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", header), *rows])
        task = "classify" if name == "mood" else "regress"
        tasks[name] = {"task": task, "data": {"train": str(tmp_path / f"{name}.csv"), "dev_share": 0.3}}
    section = {"model": str(encoder), "tasks": tasks, "precision": "fp32", "budget": {"epochs": 2}, "batch": 16}
    for run, seed in (("run", 1), ("other", 2)):
        recipe = tmp_path / f"{run}.yaml"
        recipe.write_text(yaml.safe_dump({"joint": section, "run_dir": str(tmp_path / run), "seed": seed}))
        assert cli.main(["run", str(recipe)]) == 0
    page = (tmp_path / "run/report.html").read_text(encoding="utf-8")
    text = texts_of(page)
    for wanted in (
        "for the task classify", "for the task regress", "mood: Figures", "size: Figures", "mood: Confusion",
        "mood: Accuracy on dev", "size: Pearson on dev", "size: Worst examples",
    ):  # fmt: skip
        assert wanted in text, wanted
    assert text.count("Loss of the joint training") == 1
    ids = re.findall(r'id="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    folders = [str(tmp_path / run / "joint/size") for run in ("run", "other")]
    assert cli.main(["compare", *folders, "--out", str(tmp_path / "page.html")]) == 0
    compared = texts_of((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "run · other" in compared and "Differences from run" in compared and "Pearson" in compared


def test_of_chats_the_report_has_what_the_model_writes(decoder: Path, tmp_path: Path) -> None:
    turns = [{"messages": [{"role": "user", "content": f"to be {n}"}, {"role": "assistant", "content": "or not"}]}
             for n in range(12)]  # fmt: skip
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps(each) + "\n" for each in turns))
    section = {"model": str(decoder), "task": {"use": "chat", "answer_tokens": 4, "template": "plain"},
               "data": {"train": str(tmp_path / "chats.jsonl"), "dev_share": 0.3},
               "precision": "fp32", "budget": {"steps": 2}, "batch": 4}  # fmt: skip
    (tmp_path / "chat.yaml").write_text(yaml.safe_dump({"finetune": section, "run_dir": str(tmp_path / "run")}))
    assert cli.main(["run", str(tmp_path / "chat.yaml")]) == 0
    for line in read_jsonl(tmp_path / "run/finetune/dev.predictions.jsonl"):
        (figure,) = line["figures"].values()
        assert figure > 0
    text = texts_of((tmp_path / "run/report.html").read_text(encoding="utf-8"))
    assert "dev: 4 of 4, those with the worst loss." in text and "predicted nats " in text
    assert "Answers" in text and "as in the file" in text and "Worst examples" in text
    places = [line["file"] for line in read_jsonl(tmp_path / "run/finetune/dev.samples.jsonl")]
    assert len(places) > 1 and text.count("written") >= len(places)


def test_an_unfinished_fine_tuning_has_its_curves(finetune: Callable[..., Path], tmp_path: Path) -> None:
    run = finetune(labelled(), ("text", "label"), "classify")
    for file in ("done.json", "dev.json", "dev.predictions.jsonl"):
        (run / "finetune" / file).unlink()
    assert cli.main(["report", str(tmp_path / "try.yaml")]) == 0
    text = texts_of((run / "report.html").read_text(encoding="utf-8"))
    last = read_jsonl(run / "finetune/metrics.jsonl")[-1]["step"]
    assert f"Not finished: {last} steps so far" in text
    assert "Loss of the fine-tuning" in text
    assert finetuned.summary(RunFolder(run)) is None
    assert load_recipe(tmp_path / "try.yaml").name in text


def test_the_page_has_the_worst_alone_and_texts_of_a_length() -> None:
    many = [Prediction(f"f, line {n}", ("x" * 2 * MOST_CHARACTERS,), "a", "b", n / 1000) for n in range(MOST + 50)]
    browser = worst_examples({"test": many, "dev": many[:3]})
    assert browser is not None
    assert len(browser.examples) == MOST + 3 and browser.filters == ["part", "gold", "predicted"]
    assert browser.examples[0].place == f"test: f, line {MOST + 49}"
    assert all(len(each.texts[0]) == MOST_CHARACTERS + 2 for each in browser.examples)
    assert f"test: {MOST + 50} of {MOST + 50} are not right, of which these are the worst {MOST}" in browser.note
    assert worst_examples({"dev": [Prediction("", ("x",), "a", "a")]}) is None

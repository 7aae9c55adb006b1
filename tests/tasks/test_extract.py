"""Extractive answers against transformers' BertForQuestionAnswering on the folders that finetune writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from danlu.cli import main
from danlu.corpus.batches import IGNORE, collate
from danlu.corpus.rows import Widths
from danlu.data.dataset import Data, load
from danlu.metrics.extraction import CMRC, SQuAD, best_threshold
from danlu.metrics.tally import overall
from danlu.nn.hf.folder import save_model
from danlu.nn.hf.start import begin
from danlu.tasks.answer_spans import find
from danlu.tasks.extract import Extract
from danlu.tasks.task import Known
from danlu.tasks.text_reader import TextReader

CONTEXT = (
    "Once upon a time there was a sentence. To be, or not to be: that is the question. Upon a time, there was a café."
)
ASKED = [
    ("What is a question?", "that is the question"),
    ("What was there?", "a sentence"),
    ("When?", "Once upon a time"),
    ("a time?", "a café"),
    ("Or not?", "To be, or not to be"),
]
CHINESE = "话说天下大势，从前有座山。"


def squad(asked: list[tuple[str, str]], context: str, *, unanswered: int = 0, golds: bool = True) -> dict[str, Any]:
    qas: list[dict[str, Any]] = []
    for number, (question, text) in enumerate(asked):
        answers = [] if number < unanswered else [{"text": text, "answer_start": context.index(text)}]
        said = {"answers": answers, "is_impossible": not answers} if golds else {}
        qas.append({"id": f"q{number}", "question": question, **said})
    return {"data": [{"title": "t", "paragraphs": [{"context": context, "qas": qas}]}]}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, unanswered in (("v1", 0), ("v2", 2)):
        (tmp_path / f"{name}.json").write_text(json.dumps(squad(ASKED, CONTEXT, unanswered=unanswered)))
    (tmp_path / "new.json").write_text(json.dumps(squad(ASKED, CONTEXT, golds=False)))
    asked = [("天下大势？", "天下大势"), ("有座山？", "山")]
    (tmp_path / "zh.json").write_text(json.dumps(squad(asked, CHINESE), ensure_ascii=False))
    return tmp_path


def finetune(model: Path, train: str, task: str = "extract", *, steps: int = 3) -> Path:
    Path("r.yaml").write_text(f"""
finetune:
  data: {{train: {train}, dev: {train}}}
  model: {model}
  task: {task}
  budget: {{steps: {steps}}}
  optimizer: {{use: adamw, lr: 0.01}}
  batch: 8
  evaluations: 1
""")
    assert main(["finetune", "r.yaml"]) == 0
    return Path("runs/r/finetune")


def by_transformers(
    folder: Path, question: str, context: str, longest: int
) -> tuple[dict[tuple[int, int], float], float]:
    """The score of every part of the context, and of no answer: their example utils_qa.py without its shortcuts."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.BertForQuestionAnswering.from_pretrained(folder).eval()
    read = tokenizer(
        question, context, max_length=24, stride=6, truncation="only_second", return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )  # fmt: skip
    spans: dict[tuple[int, int], float] = {}
    none = []
    for number, ids in enumerate(read["input_ids"]):
        with torch.inference_mode():
            said = model(torch.tensor([ids]))
        starts, ends = said.start_logits[0].tolist(), said.end_logits[0].tolist()
        none.append(starts[0] + ends[0])
        offsets, sides = read["offset_mapping"][number], read.sequence_ids(number)
        for first in range(len(ids)):
            for last in range(first, len(ids)):
                span = offsets[first][0], offsets[last][1]
                if sides[first] == sides[last] == 1 and span[1] - span[0] <= longest:
                    spans[span] = max(spans.get(span, -1e9), starts[first] + ends[last])
    return spans, min(none)


@pytest.mark.parametrize("data", ["v1", "v2"])
def test_answers_equal_transformers(files: Path, encoder: Path, data: str) -> None:
    run = finetune(encoder, f"{data}.json", "{use: extract, longest: 30, answers_listed: 7}")
    assert main(["predict", str(run / "model"), "new.json", "--out", "out.jsonl", "--dtype", "float32"]) == 0
    lines = [json.loads(line) for line in Path("out.jsonl").read_text(encoding="utf-8").splitlines()]
    threshold = json.loads((run / "model" / "danlu.json").read_text())["known"]["numbers"].get("threshold")
    assert (threshold is None) == (data == "v1")
    for line, (question, _) in zip(lines, ASKED, strict=True):
        spans, none = by_transformers(run / "model", question, CONTEXT, 30)
        ranked = sorted(spans, key=lambda span: -spans[span])[:7]
        listed = [(each["start"], each["end"]) for each in line["best"] if each["start"] is not None]
        assert listed == ranked
        scores = [*(spans[span] for span in ranked), *([] if threshold is None else [none])]
        shares = torch.tensor(scores).softmax(0).sort(descending=True).values
        assert [each["confidence"] for each in line["best"]] == pytest.approx(shares.tolist(), abs=1e-4)
        given = threshold is None or none - scores[0] <= threshold + 1e-4  # it may be the doubt of the last one
        assert line["prediction"] == (CONTEXT[slice(*ranked[0])] if given else "")
        assert (line["start"], line["end"]) == (ranked[0] if given else (None, None))


@pytest.mark.parametrize("data", ["v1", "v2", "zh"])
def test_figures_are_of_the_kind_that_the_data_is(files: Path, encoder: Path, data: str) -> None:
    run = finetune(encoder, f"{data}.json")
    said = json.loads((run / "dev.json").read_text())
    lines = [json.loads(line) for line in (run / "dev.predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    metric = {"v1": SQuAD(version="1.1"), "v2": SQuAD(), "zh": CMRC()}[data]
    golds = [line["gold"] for line in lines]
    assert said["figures"] == pytest.approx(overall(metric.tally(golds, [line["prediction"] for line in lines])))


def test_the_threshold_is_the_one_with_the_highest_f1(files: Path, encoder: Path) -> None:
    run = finetune(encoder, "v2.json", steps=6)
    lines = [json.loads(line) for line in (run / "dev.predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    best = [next(each for each in line["best"] if each["start"] is not None) for line in lines]
    none = [next(each for each in line["best"] if each["start"] is None) for line in lines]
    doubts = [one["confidence"] / other["confidence"] for one, other in zip(none, best, strict=True)]
    golds = [line["gold"] for line in lines]
    found = []
    for threshold in (-1.0, *doubts):
        given = [each["text"] if doubt <= threshold else "" for each, doubt in zip(best, doubts, strict=True)]
        found.append(overall(SQuAD().tally(golds, given))["f1"])
    assert len(set(found)) > 1
    assert json.loads((run / "dev.json").read_text())["figures"]["f1"] == pytest.approx(max(found))
    assert [line["prediction"] for line in lines] != [each["text"] for each in best]


def test_the_loss_and_its_gradients_are_those_of_transformers(files: Path, encoder: Path) -> None:
    task = Extract()
    dataset = load(Data(train=Path("v2.json"), dev=Path("v2.json")), task.form)
    model = begin(encoder, task.head, labels=2, seed=1).draw().eval()
    known = task.know(dataset, model.config)
    features = task.features(dataset.splits["train"], known, TextReader.load(encoder, max_tokens=24))
    features = [each for each in features if each.targets["answer"][0] > 0][:4] + features[:3]
    batch = collate([[each.as_example() for each in features]], widths=Widths(sum(each.size for each in features) + 5))
    ours = task.losses(model, batch, known)["answer"]
    ours.backward()
    save_model(model, files / "model", tokenizer=encoder)
    theirs = transformers.BertForQuestionAnswering.from_pretrained(files / "model").eval()
    total = torch.zeros(())
    for each in features:
        places = (torch.tensor([int(each.targets[name][0])]) for name in ("answer", "answer_end"))
        start, end = places
        total = total + theirs(torch.tensor(each.tokens)[None], start_positions=start, end_positions=end).loss
    total.backward()
    torch.testing.assert_close(ours, total)
    assert batch.counts["answer"] == len(features)
    torch.testing.assert_close(model.head.out.weight.grad, theirs.qa_outputs.weight.grad)
    torch.testing.assert_close(model.embedding.weight.grad, theirs.bert.embeddings.word_embeddings.weight.grad)


def test_targets_are_the_answer_or_the_first_token(files: Path, encoder: Path) -> None:
    task, reader = Extract(), TextReader.load(encoder, max_tokens=24)
    dataset = load(Data(train=Path("v2.json"), dev=Path("v2.json")), task.form)
    examples = dataset.splits["train"]
    features = task.features(examples, task.know(dataset, begin(encoder, task.head, labels=2, seed=1).config), reader)
    answered = set()
    for each in features:
        first, last = int(each.targets["answer"][0]), int(each.targets["answer_end"][0])
        start, end = int(each.words[first, 0]), int(each.words[last, 1])
        answers = examples[each.example].answers
        if first:
            assert (CONTEXT[start:end], start) == (answers[0].text, answers[0].start)
            answered.add(each.example)
        else:
            assert last == 0
            there = each.words[each.words[:, 1] > 0]
            assert (
                not answers or there[0, 0] > answers[0].start or there[-1, 1] < answers[0].start + len(answers[0].text)
            )
    assert answered == {2, 3, 4}


def test_answers_that_are_nowhere_are_not_learned(files: Path, encoder: Path) -> None:
    data = squad(ASKED, CONTEXT)
    data["data"][0]["paragraphs"][0]["qas"][0]["answers"] = [{"text": "nowhere", "answer_start": 3}]
    Path("odd.json").write_text(json.dumps(data))
    task = Extract()
    dataset = load(Data(train=Path("odd.json"), dev=Path("odd.json"), mend=True), task.form)
    examples = dataset.splits["train"]
    features = task.features(examples, Known(), TextReader.load(encoder, max_tokens=24))
    assert all(
        (each.targets["answer"][0] == IGNORE) == (each.targets["answer_end"][0] == IGNORE) == (each.example == 0)
        for each in features
    )
    assert examples[0].gold == ("nowhere",)


@given(st.integers(1, 9), st.integers(1, 6), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_the_best_parts_are_the_best_of_all(tokens: int, most: int, longest: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    scores_T2 = draw.normal(size=(tokens, 2)).astype(np.float32)
    ends = np.cumsum(draw.integers(1, 6, size=tokens))
    offsets = np.stack([np.concatenate([[0], ends[:-1]]), ends], axis=1).astype(np.int32)
    offsets[0] = 0
    found = find([(scores_T2, offsets)], longest=longest, most=most)
    spans = {
        (int(offsets[first, 0]), int(offsets[last, 1])): float(scores_T2[first, 0] + scores_T2[last, 1])
        for first in range(1, tokens)
        for last in range(first, tokens)
        if offsets[last, 1] - offsets[first, 0] <= longest
    }
    assert found.spans == sorted(spans, key=lambda span: -spans[span])[:most]
    assert found.none == pytest.approx(float(scores_T2[0].sum()))


def test_chinese_may_have_questions_without_answer() -> None:
    golds, answers = [["大势"], [], []], ["大", "", "山"]
    figures = overall(CMRC(no_answer=True).tally(golds, answers))
    assert figures == pytest.approx({"exact_match": 1 / 3, "f1": (2 / 3 + 1) / 3, "average": (1 / 3 + 5 / 9) / 2})
    assert best_threshold(golds, ["大", "山", "山"], [0.2, 0.5, 0.7], metric=CMRC(no_answer=True)) == 0.2


@pytest.mark.parametrize(
    ("task", "data", "reason"),
    [
        ("{use: extract, stride: 12}", "v1", "task.stride must be below 10, half of what a window of 24 tokens"),
        ("{use: extract, figures: rouge}", "v1", "squad"),
        ("extract", "none", "data.train: no question has an answer that is learned from"),
    ],
)
def test_bad_settings_are_told_in_one_line(
    files: Path, encoder: Path, capsys: pytest.CaptureFixture[str], task: str, data: str, reason: str
) -> None:
    Path("none.json").write_text(json.dumps(squad(ASKED, CONTEXT, unanswered=9)))
    Path("r.yaml").write_text(
        f"finetune: {{data: {{train: {data}.json, dev: {data}.json}}, model: {encoder}, task: {task}}}"
    )
    assert main(["finetune", "r.yaml"]) != 0
    assert reason in capsys.readouterr().err.splitlines()[-1]
    assert not Path("runs/r/finetune/model").exists()


def test_a_folder_of_others_answers_too(files: Path, encoder: Path) -> None:
    run = finetune(encoder, "v1.json")
    (run / "model" / "danlu.json").unlink()
    assert main(["predict", str(run / "model"), "new.json", "--out", "out.jsonl", "--dtype", "float32"]) == 0
    line = json.loads(Path("out.jsonl").read_text(encoding="utf-8").splitlines()[0])
    spans, _ = by_transformers(run / "model", ASKED[0][0], CONTEXT, 200)
    assert (line["start"], line["end"]) == max(spans, key=lambda span: spans[span])


def test_predictions_as_a_table(files: Path, encoder: Path) -> None:
    run = finetune(encoder, "v1.json")
    assert main(["predict", str(run / "model"), "new.json", "--out", "out.csv"]) == 0
    header = Path("out.csv").read_text(encoding="utf-8").splitlines()[0]
    assert header == "title,id,question,context,number,prediction,confidence,start,end,best"

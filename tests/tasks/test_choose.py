"""Multiple choice: losses, gradients and shares are those of transformers' own classes, whatever stands beside."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from danlu.cli import main
from danlu.corpus.batches import Batch, collate
from danlu.corpus.rows import Widths
from danlu.data.chosen import MultipleChoice
from danlu.data.example import Place
from danlu.errors import RecipeError
from danlu.nn.hf.folder import load_model, save_model
from danlu.nn.hf.start import begin
from danlu.tasks.answering import answer
from danlu.tasks.choose import Choose, log_sums, pairs
from danlu.tasks.feature import Feature
from danlu.tasks.task import Known
from danlu.tasks.text_reader import TextReader

HERE = Place(Path("x"), 1)
QUESTIONS = [
    MultipleChoice(HERE, "To be or", ("not", "to be that is the question"), 1),
    MultipleChoice(HERE, "Once upon a time", ("there was", "a sentence", "话说天下", "be"), 0),
    MultipleChoice(HERE, "the question", ("not", "be", "从前有座山"), 2, "To be, or not to be"),
]


def batch_of(features: list[Feature]) -> Batch:
    return collate(
        [[each.as_example() for each in features]], widths=Widths(sum(len(each.tokens) for each in features) + 3)
    )


def stock_inputs(folder: Path, question: MultipleChoice) -> dict[str, Any]:
    """As transformers' own example has it: a row a choice, padded."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    first, second = zip(*pairs(question), strict=True)
    encoded = tokenizer(list(first), list(second), padding=True, return_tensors="pt")
    return {name: value[None] for name, value in encoded.items()}


@pytest.fixture
def written(encoder: Path, tmp_path: Path) -> Path:
    """A folder that we have written, its head drawn large enough to matter."""
    model = begin(encoder, "ForMultipleChoice", labels=1, seed=3).draw()
    with torch.no_grad():
        model.head.out.weight.normal_(0.0, 1.0)
    save_model(model, tmp_path / "written", tokenizer=encoder)
    return tmp_path / "written"


def test_loss_and_gradients_are_those_of_transformers(written: Path) -> None:
    stock, report = transformers.BertForMultipleChoice.from_pretrained(written, output_loading_info=True)
    assert not any(report.values()), report
    stock.eval()
    model = load_model(written)
    task, known = Choose(), Known()
    features = task.features(QUESTIONS, known, TextReader.load(written, max_tokens=24))
    batch = batch_of(features)
    assert batch.counts["answer"] == 3
    loss = task.losses(model, batch, known)["answer"]
    torch.autograd.backward(loss)
    losses = [
        stock(**stock_inputs(written, each), labels=torch.tensor([each.answer])).loss for each in QUESTIONS
    ]  # fmt: skip
    total = torch.stack(losses).sum()
    torch.autograd.backward(total)
    torch.testing.assert_close(loss, total, rtol=1e-5, atol=1e-5)
    wanted = stock.bert.encoder.layer[0].attention.self.value.weight.grad
    found = model.get_parameter("encoder.blocks.0.attention.value.weight").grad
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.head.out.weight.grad, stock.classifier.weight.grad, rtol=1e-4, atol=1e-5)


def test_shares_are_the_softmax_of_transformers_logits(written: Path) -> None:
    stock = transformers.AutoModelForMultipleChoice.from_pretrained(written).eval()
    task, known = Choose(), Known()
    reader = TextReader.load(written, max_tokens=24)
    features = task.features(QUESTIONS, known, reader)
    answers = answer(task, load_model(written), features, QUESTIONS, known, reader)
    for question, said in zip(QUESTIONS, answers, strict=True):
        with torch.no_grad():
            shares = stock(**stock_inputs(written, question)).logits[0].softmax(-1).tolist()
        assert said.scores is not None
        np.testing.assert_allclose([said.scores[str(place)] for place in range(len(shares))], shares, rtol=1e-4)
        assert said.value == str(int(np.argmax(shares)))
        assert said.confidence == pytest.approx(max(shares), rel=1e-4)


def test_a_question_without_its_answer_costs_nothing_but_is_answered(written: Path) -> None:
    task, known = Choose(), Known()
    silent = MultipleChoice(HERE, "To be or", ("not", "to be"), None)
    features = task.features([silent, QUESTIONS[0]], known, TextReader.load(written, max_tokens=24))
    model, both, one = load_model(written), batch_of(features), batch_of(features[1:])
    assert both.counts["answer"] == 1
    found, wanted = (task.losses(model, each, known)["answer"] for each in (both, one))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert [len(each) for each in task.numbers(model, both, known)] == [2, 2]


def test_logarithms_of_sums_are_numpys_and_do_not_overflow() -> None:
    scores = torch.tensor([1.0, 2.0, 3.0, 1000.0, 999.0, -1000.0, -5.0], dtype=torch.float64)
    found = log_sums(scores, torch.tensor([3, 2, 1, 1]))
    parts = np.split(scores.numpy(), [3, 5, 6])
    np.testing.assert_allclose(found.numpy(), [np.logaddexp.reduce(each) for each in parts], rtol=1e-12)


def test_a_model_without_such_a_head_is_refused(decoder: Path) -> None:
    with pytest.raises(RecipeError, match="llama models have no head ForMultipleChoice"):
        begin(decoder, "ForMultipleChoice", labels=1, seed=0)


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """Whichever choice says be is right; they are counted from 1."""
    path = tmp_path / "questions.jsonl"
    lines = [
        {"question": f"which {number}", "choices": ["to be", "a time"][:: 1 if number % 2 else -1],
         "answer": 1 if number % 2 else 2}
        for number in range(60)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_from_a_file_to_answers(encoder: Path, questions: Path, tmp_path: Path) -> None:
    run = tmp_path / "recipe.yaml"
    run.write_text(
        f"finetune:\n  data: {questions}\n  model: {encoder}\n  task: choice\n  batch: 20\n"
        "  optimizer: {lr: 0.003}\n  budget: {steps: 12}\n  precision: fp32\n  evaluations: 1\n"
    )
    assert main(["finetune", str(run), f"run_dir={tmp_path / 'run'}"]) == 0
    model = tmp_path / "run/finetune/model"
    assert json.loads((tmp_path / "run/finetune/dev.json").read_text())["figures"]["accuracy"] == 1.0
    answers = tmp_path / "answers.jsonl"
    assert main(["predict", str(model), str(questions), "--out", str(answers)]) == 0
    lines = [json.loads(line) for line in answers.read_text().splitlines()]
    assert all(line["prediction"] == line["gold"] for line in lines) and len(lines) == 60
    config = json.loads((model / "config.json").read_text())
    assert config["architectures"] == ["BertForMultipleChoice"]
    one = tmp_path / "one.jsonl"  # which alone could be counted from 0
    one.write_text(questions.read_text().split("\n")[1])
    assert main(["predict", str(model), str(one), "--out", str(tmp_path / "one.out.jsonl")]) == 0
    assert json.loads((tmp_path / "one.out.jsonl").read_text())["gold"] == "0"
    few = tmp_path / "few.jsonl"  # questions of 2 and of 3 choices, whose answers nobody knows
    few.write_text(
        "".join(json.dumps({"question": "q", "choices": ["to be", "a time", "not"][:n]}) + "\n" for n in (2, 3))
    )
    assert main(["predict", str(model), str(few), "--out", str(tmp_path / "few.csv")]) == 0
    rows = list(csv.reader((tmp_path / "few.csv").read_text(encoding="utf-8").splitlines()))
    assert rows[0] == [
        "question", "choices", "line", "text1", "text2", "text3", "text4", "prediction", "confidence",
        "choice",
    ]  # fmt: skip
    assert [row[2:-3] for row in rows[1:]] == [["1", "q", "to be", "a time", ""], ["2", "q", "to be", "a time", "not"]]
    assert json.loads(rows[1][1]) == ["to be", "a time"]
    known = json.loads((model / "danlu.json").read_text())
    assert known.pop("conventions") == {"marks": None, "counted_from": 1}
    (model / "danlu.json").write_text(json.dumps(known))  # as versions before have written it
    assert main(["predict", str(model), str(one), "--out", str(tmp_path / "before.jsonl")]) == 0
    assert json.loads((tmp_path / "before.jsonl").read_text())["gold"] == "1"
    assert all(json.loads(row[1])[int(row[-3])] == row[-1] for row in rows[1:])
    (model / "danlu.json").unlink()  # then it is a folder of others, whose class says enough
    assert main(["predict", str(model), str(questions), "--out", str(tmp_path / "again.jsonl")]) == 0
    assert (tmp_path / "again.jsonl").read_text() == answers.read_text()

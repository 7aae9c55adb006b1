"""danlu compare: runs of pretraining by held-out document, and answers to suites by question."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from danlu import cli
from danlu.errors import InputError
from danlu.evaluate.compare import compare_runs, draws_for, holm
from danlu.evaluate.compared import read_runs
from danlu.files import read_json, write_json


def write(path: Path, found: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(each) + "\n" for each in found), encoding="utf-8")


def pretrained(folder: Path, bits: list[float], rate: float) -> Path:
    """A run of pretraining, as its files tell it."""
    documents: list[dict[str, Any]] = [
        {"id": f"d#{n}", "bytes": 100 * (n + 1), "bits_per_byte": each} for n, each in enumerate(bits)
    ]
    whole = sum(each["bytes"] * each["bits_per_byte"] for each in documents) / sum(each["bytes"] for each in documents)
    stages: dict[str, dict[str, Any]] = {
        "pretrain": {"parameters": 1000, "tokens": 5000, "seconds": 9.0}, "evaluate": {"all.bits_per_byte": whole},
    }  # fmt: skip
    for stage, figures in stages.items():
        (folder / stage).mkdir(parents=True)
        made_from = {"seed": 1, "settings": {"optimizer": {"lr": rate}}}
        write_json(folder / stage / "done.json", {"made_from": made_from, "outputs": {}, "figures": figures})
    write(folder / "evaluate/perplexity_documents.jsonl", documents)
    write_json(folder / "evaluate/perplexity.json", {"all": {"bits_per_byte_95": [whole - 0.1, whole + 0.1]}})
    heldout = [{"heldout_loss": 3 / n} if n % 5 == 0 else {} for n in range(1, 21)]
    write(folder / "pretrain/metrics.jsonl", [{"step": n, "loss": 3 / n, **more} for n, more in enumerate(heldout, 1)])
    return folder


def test_runs_of_pretraining_are_paired_by_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = pretrained(tmp_path / "a", [1.0, 1.2, 0.9, 1.1, 1.3, 1.0, 1.1, 0.8], 0.01)
    better = pretrained(tmp_path / "b", [0.9, 1.1, 0.8, 1.0, 1.2, 0.9, 1.0, 0.7], 0.02)
    others = pretrained(tmp_path / "c", [0.9, 1.1], 0.01)
    assert cli.main(["compare", str(first), str(better), str(others), "--out", str(tmp_path / "page.html")]) == 0
    said = capsys.readouterr().out
    assert "−0.100, p = 0.0" in said, "each document costs a tenth less"
    assert "held-out documents: c is not tested against a: other documents than those of a were held out" in said
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Training loss, smoothed" in text and "Loss on held-out documents" in text
    assert "pretrain.optimizer.lr" in text


def test_figures_of_other_strides_are_not_compared(tmp_path: Path) -> None:
    """They differ by what each token was foreseen from. Rows a whole row behind each other do not overlap."""
    runs = [pretrained(tmp_path / name, [1.0, 1.2, 0.9, 1.1], 0.01) for name in ("none", "whole", "half")]
    for run, stride in zip(runs[1:], (64, 32), strict=True):
        said = read_json(run / "evaluate/perplexity.json") or {}
        write_json(run / "evaluate/perplexity.json", {**said, "row_tokens": 64, "stride": stride})
    (heldout,) = compare_runs(read_runs(runs))
    assert heldout.reasons == {"half": "its perplexity was measured with another stride than that of none"}
    (figure,) = heldout.figures
    assert figure.differences[1] is not None and figure.differences[2] is None


def test_many_runs_are_tested_with_more_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 2,000 draws the least p-value, 1 in 2,001, times 120 runs is above 0.05."""
    for tests in (1, 10, 11, 100, 1000):
        assert draws_for(10) == 2000 and max(each or 1 for each in holm([1 / (draws_for(tests) + 1)] * tests)) < 0.005
    bits = [1.0 + n % 5 / 10 for n in range(20)]
    folders = [pretrained(tmp_path / "first", bits, 0.01)]
    folders += [pretrained(tmp_path / f"r{n}", [each - 0.1 for each in bits], 0.01) for n in range(120)]
    (heldout,) = compare_runs(read_runs(folders))
    (figure,) = [each for each in heldout.figures if each.name == "bits_per_byte"]
    assert all(p is not None and p < 0.02 for p in figure.p[1:])
    monkeypatch.setattr("danlu.evaluate.compare.A_TEST", 0)
    (heldout,) = compare_runs(read_runs(folders))
    (figure,) = [each for each in heldout.figures if each.name == "bits_per_byte"]
    assert all(p is not None and p > 0.05 for p in figure.p[1:])


def asked(folder: Path, answers: list[bool]) -> None:
    """Questions of a suite and whether they were answered rightly, as files tell it."""
    questions = [{"line": n, "context": f"question {n}", "choices": ["yes", "no"], "gold": n % 2,
                  "chosen": n % 2 if each else 1 - n % 2, "right": each}
                 for n, each in enumerate(answers)]  # fmt: skip
    write(folder / "copa_items.jsonl", questions)
    share = sum(answers) / len(answers)
    write_json(folder / "copa.json", {"all": {"items": len(answers), "acc": share, "acc_95": [share, share]}})


def test_suites_are_paired_by_question(tmp_path: Path) -> None:
    right = {"a": [True] * 6 + [False] * 6, "b": [True] * 12}
    for name, answers in right.items():
        asked(pretrained(tmp_path / name, [1.0, 1.2], 0.01) / "evaluate", answers)
    copa, heldout = compare_runs(read_runs([tmp_path / "a", tmp_path / "b"]))
    (acc,) = copa.figures
    assert copa.name == "copa" and (acc.name, acc.values) == ("acc", [0.5, 1.0]) and copa.reasons == {}
    assert acc.differences[1] is not None and acc.differences[1].difference == 0.5 and (acc.p[1] or 1) < 0.05
    assert copa.agreements[0].p == pytest.approx(2 * 0.5**6) and heldout.name == "held-out documents"


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        ("perplexity.json", '{"all": []}', "'all' must be figures by name"),
        ("perplexity.json", '{"al', "it is no whole JSON object"),
        ("copa.json", '{"all": {"acc": "x"}}', "its figures must be numbers by name"),
        ("copa_items.jsonl", '{"line": 1}', "at line 1: it lacks context, choices, gold, right"),
        ("perplexity_documents.jsonl", '{"id": "d#0"}', "at line 1: it must have id, bytes and bits_per_byte"),
    ],
)
def test_damaged_files_of_evaluate_are_one_line(file: str, content: str, complaint: str, tmp_path: Path) -> None:
    runs = [pretrained(tmp_path / name, [1.0, 1.2], 0.01) for name in "ab"]
    asked(runs[1] / "evaluate", [True, False])
    (runs[1] / "evaluate" / file).write_text(content)
    for order in (runs, runs[::-1]):
        with pytest.raises(InputError, match=rf"{re.escape(file)} is damaged:? {re.escape(complaint)}"):
            compare_runs(read_runs(order))


def test_answers_of_model_folders_are_compared_with_each_other_and_with_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What ``danlu evaluate MODEL --suite FILE --out FOLDER`` has written."""
    for name, answers in (("first", [True] * 5 + [False] * 7), ("second", [True] * 12)):
        (tmp_path / name).mkdir()
        asked(tmp_path / name, answers)
        write_json(tmp_path / name / "figures.json", {"copa": {"acc": sum(answers) / 12}})
    asked(pretrained(tmp_path / "run", [1.0, 1.2], 0.01) / "evaluate", [True] * 11 + [False])
    assert (
        cli.main(["compare", str(tmp_path / "first"), str(tmp_path / "second"), "--out", str(tmp_path / "p.html")]) == 0
    )
    said = capsys.readouterr().out
    assert "copa: acc" in said and "+0.583, p = 0.0" in said and "held-out" not in said
    copa, heldout = compare_runs(read_runs([tmp_path / name for name in ("first", "second", "run")]))
    assert copa.figures[0].values == pytest.approx([5 / 12, 1, 11 / 12]) and copa.reasons == {}
    assert heldout.base == "run" and heldout.reasons == dict.fromkeys(
        ("first", "second"), "it has no figures of held-out documents"
    )

"""Rules that learn do it once for all processes, and again where what they learn from is another."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from cleaning import clean, digests
from learning_rule import Learning

from danlu.clean.classifier import Classifier
from danlu.clean.decontaminate import Decontaminate, EvaluationSet
from danlu.clean.learned import learn_all, ready
from danlu.clean.perplexity import Perplexity
from danlu.clean.portions import Portion
from danlu.clean.rules import Empty
from danlu.text.document import Document

GOOD = ["the house was old", "and we walked there", "with friends of ours", "by the river at night", "it was late"]
BAD = ["buy cheap now", "click here for free", "$$$ offer !!!", "免费加微信", "best price now"]


def said(captured: pytest.CaptureFixture[str], beginning: str) -> int:
    return sum(line.startswith(beginning) for line in captured.readouterr().out.splitlines())


def examples(path: Path, words: list[str], *, count: int, length: int) -> Path:
    """A file of texts, each of other words."""
    texts = [" ".join(words[(place * (number + 2) + number) % len(words)] for place in range(length)) + f" {number}."
             for number in range(count)]  # fmt: skip
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


@pytest.fixture
def rules(tmp_path: Path) -> list[dict[str, Any]]:
    good = examples(tmp_path / "good.jsonl", GOOD, count=210, length=12)
    bad = examples(tmp_path / "bad.jsonl", BAD, count=210, length=12)
    return [
        {"use": "perplexity", "good": str(good), "order": 2},
        {"use": "classifier", "good": str(good), "bad": str(bad)},
        {"use": "decontaminate", "files": [str(bad)]},
    ]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    for number in range(4):
        examples(tmp_path / f"source/{number}.jsonl", [GOOD, BAD, [*GOOD, *BAD], GOOD][number], count=9, length=9)
    return tmp_path / "source"


def test_what_is_learned_once_gives_the_same_in_any_number_of_processes(
    tmp_path: Path, source: Path, rules: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("danlu.clean.stage.PORTION_BYTES", 400)
    for workers in (1, 2):
        clean(tmp_path / str(workers), sources=str(source), rules=rules, workers=workers)
        told = capsys.readouterr().out
        assert [told.count(line) for line in ("perplexity: good text", "decontaminate: looks for all of 210")] == [1, 1]
    assert digests(tmp_path / "1") == digests(tmp_path / "2")
    drops = json.loads((tmp_path / "1/drops.json").read_text())
    assert drops["kept"] and {reason.partition(":")[0] for reason in drops["dropped"]} >= {"perplexity"}


def test_rules_by_a_file_are_those_that_learn_themselves(tmp_path: Path, rules: list[dict[str, Any]]) -> None:
    good, bad = Path(rules[1]["good"]), Path(rules[1]["bad"])
    known = Decontaminate(files=(EvaluationSet(path=bad),), shortest_words=3, words=4, common=1000)
    choices = [Empty(), Perplexity(good=good, order=3), Classifier(good=good, bad=bad), known]
    files = learn_all(choices, tmp_path / "learned")
    assert files[0] is None and all(path is not None and path.exists() for path in files[1:])
    texts = [*GOOD, *BAD, "", "人免费", " ".join(GOOD), " ".join(BAD)]
    for choice, file in zip(choices, files, strict=True):
        one, other = ready(choice, file), choice.make()
        answers = [one(Document("a", text)) for text in texts]
        assert answers == [other(Document("a", text)) for text in texts] and len(set(answers)) == 2


def test_one_learns_again_only_for_other_text_or_a_damaged_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "good.txt").write_text("as long as this")
    choice = Learning(good=tmp_path / "good.txt", told=tmp_path / "told")
    times = []
    for change in (None, None, "good.txt", None, "learned/0.safetensors", None):
        if change is not None:
            (tmp_path / change).write_text("a text of another length")
        learn_all([choice], tmp_path / "learned")
        times.append(len((tmp_path / "told").read_text().splitlines()))
    assert times == [1, 1, 2, 2, 3, 3]
    assert said(capsys, "learned: ") == 6


def test_a_run_that_goes_on_does_not_learn_again(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("danlu.clean.stage.PORTION_BYTES", 400)
    (tmp_path / "good.txt").write_text("x" * 150)
    rules = [{"use": "learning_rule:Learning", "good": str(tmp_path / "good.txt"), "told": str(tmp_path / "told")}]
    clean(tmp_path / "whole", sources=str(source), rules=rules, workers=2)
    assert (tmp_path / "told").read_text() == "learned\n", "once for two processes"
    records = Portion.records

    def killed(portion: Portion) -> Any:
        yield from itertools.islice(records(portion), 2 if portion.number == 1 else None)
        if portion.number == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Portion, "records", killed)
        with pytest.raises(KeyboardInterrupt):
            clean(tmp_path / "out", sources=str(source), rules=rules, workers=1)
    clean(tmp_path / "out", sources=str(source), rules=rules, workers=2)
    assert (tmp_path / "told").read_text() == "learned\n" * 2, "once for both halves of the run"
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")

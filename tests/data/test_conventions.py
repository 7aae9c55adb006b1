"""Files to be predicted are read as the one that was trained on, where nothing in them says otherwise."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.data.conventions import Conventions
from danlu.data.dataset import Data, Dataset, load, load_inputs
from danlu.data.example import Place
from danlu.data.form import Cells
from danlu.data.forms import FORMS
from danlu.data.rows import Row
from danlu.errors import InputError


def questions(path: Path, answers: list[Any], mark: str | None = None) -> Path:
    choices = ["red", "green, dark", "blue"]
    rows = [
        {"question": f"q{n}", "choices": choices if mark is None else mark.join(choices), "answer": each}
        for n, each in enumerate(answers)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def texts(path: Path, cells: list[str], column: str) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", column), *((f"text number {n}", cell) for n, cell in enumerate(cells))])
    return path


def predicted(form: str, train: Path, file: Path) -> Dataset[Any]:
    """The file as it is read beside a model that was trained on ``train``, whose folder keeps JSON."""
    data = load(Data(train=train), FORMS[form])
    kept = Conventions.of(json.loads(json.dumps(asdict(data.conventions))))
    assert kept == data.conventions
    return load_inputs(file, Data(train=train), FORMS[form], columns=data.columns, labels=data.labels, conventions=kept)


def golds(data: Dataset[Any]) -> list[Any]:
    return [each.gold for each in data.splits["test"]]


@given(st.sampled_from([0, 1]), st.lists(st.integers(0, 2), min_size=1, max_size=4))
def test_answers_are_counted_from_where_training_did(first: int, right: list[int]) -> None:
    path = Path("q.jsonl")
    data = Conventions(None, first)
    read = [FORMS["choice"].read(_cells(path, number + first)) for number in right]
    checked, kept, other = data.check(FORMS["choice"], read, None, gold=False)
    assert ([each.gold for each in checked], kept, other) == ([str(each) for each in right], data, "")


def _cells(path: Path, answer: int) -> Cells:
    columns = {name: name for name in ("question", "choices", "answer")}
    return Cells(Row(Place(path, 1), {"question": "q", "choices": ["a", "b", "c"], "answer": answer}), columns)


def test_a_file_that_cannot_count_so_counts_for_itself_and_says_so(tmp_path: Path) -> None:
    one, zero = questions(tmp_path / "a.jsonl", [1, 2, 3] * 4), questions(tmp_path / "z.jsonl", [0, 1, 2] * 4)
    few = questions(tmp_path / "b.jsonl", [1, 2])
    assert golds(predicted("choice", one, few)) == ["0", "1"] and golds(predicted("choice", zero, few)) == ["1", "2"]
    for train, answers, right, told in (
        (one, [0, 1], ["0", "1"], "choices counted from 0, unlike in training, where they were counted from 1"),
        (zero, [1, 3], ["0", "2"], "choices counted from 1, unlike in training, where they were counted from 0"),
    ):
        data = predicted("choice", train, questions(tmp_path / "b.jsonl", answers))
        assert golds(data) == right and data.said[0].endswith(f"; {told}")
    for train, wrong, told in ((one, [1, 4], "1 to 3; got 4"), (zero, [0, 3], "0 to 2; got 3")):
        with pytest.raises(InputError, match=rf"b\.jsonl, line 2: the answer must be a choice from {told}"):
            predicted("choice", train, questions(tmp_path / "b.jsonl", wrong))
    letters = questions(tmp_path / "l.jsonl", list("ABC") * 4)  # whose training has found nothing
    assert golds(predicted("choice", letters, questions(tmp_path / "b.jsonl", [1, 3]))) == ["0", "2"]


def test_labels_are_parted_as_in_training_and_what_is_not_is_told(tmp_path: Path) -> None:
    bars = texts(tmp_path / "a.csv", ["news, local|sport", "news, local", "sport", "art"] * 5, "labels")
    few = texts(tmp_path / "b.csv", ["news, local", "art"], "labels")
    data = predicted("multi_label", bars, few)
    assert golds(data) == [("news, local",), ("art",)]
    assert data.said[0].endswith("; labels parted by '|', and not by ',', as in training")
    alone = texts(tmp_path / "c.csv", ["art", "sport"] * 8, "labels")
    data = predicted("multi_label", alone, few)
    assert golds(data) == [("news, local",), ("art",)]
    assert data.said[0].endswith("; labels not parted by ',', as in training")
    assert golds(load_inputs(few, Data(train=few), FORMS["multi_label"])) == [("news", "local"), ("art",)]


def test_choices_that_no_mark_of_training_parts_are_parted_by_the_files_own(tmp_path: Path) -> None:
    train = questions(tmp_path / "a.jsonl", ["red", "blue"] * 6, "|")
    for mark, told in (("|", ""), (";", "; choices parted by ';', unlike in training ('|')")):
        data = predicted("choice", train, questions(tmp_path / "b.jsonl", ["blue"], mark))
        assert [each.choices for each in data.splits["test"]] == [("red", "green, dark", "blue")]
        assert data.said[0].endswith(f"answer from column 'answer' (1 value: blue){told}")


def test_keywords_are_parted_as_in_training(tmp_path: Path) -> None:
    train = texts(tmp_path / "a.csv", [f"deep_learning; word {n}" for n in range(12)], "keywords")
    few = texts(tmp_path / "b.csv", ["machine_learning"], "keywords")
    assert golds(predicted("keywords", train, few)) == [("machine_learning",)]
    assert golds(load_inputs(few, Data(train=few), FORMS["keywords"])) == [("machine", "learning")]

"""What parts the cells of a column, planted marks within labels, and what a file beside another one takes over."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.data.dataset import Data, load
from danlu.data.forms import FORMS
from danlu.data.parted import LABELS, WORDS, marks_of, part

names = st.lists(st.text("abc ,;、", min_size=1, max_size=6).map(str.strip).filter(bool), min_size=1, max_size=4)


def write(path: Path, cells: list[str], column: str = "labels") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = ((f"text {'x' * number} number {number}", cell) for number, cell in enumerate(cells))
        csv.writer(file).writerows([("text", column), *rows])
    return path


@given(st.lists(names, min_size=2, max_size=8), st.sampled_from(["|", " | ", "｜"]))
def test_labels_come_back_whatever_marks_they_hold(rows: list[list[str]], mark: str) -> None:
    cells = [mark.join(row) for row in [*rows, ["one", "other"]]]
    marks = marks_of(cells, LABELS)
    assert [part(cell, marks) for cell in cells[:-1]] == rows


@pytest.mark.parametrize(("cells", "parts"), [
    (["a", "b, c", "d"], [["a"], ["b", "c"], ["d"]]),
    (["a;b;", ";c", "a; ;b"], [["a", "b"], ["c"], ["a", "b"]]),
    (["体育、财经", "娱乐"], [["体育", "财经"], ["娱乐"]]),
    (["a，b,c"], [["a", "b", "c"]]),
    (["news, local|sport", "news, local"], [["news, local", "sport"], ["news, local"]]),
    (["a, b"] * 30 + ["R|D"], [["a", "b"]] * 30 + [["R|D"]]),
    (["a|b"] * 30 + ["c, d"], [["a", "b"]] * 30 + [["c, d"]]),
    (["a", "b"], [["a"], ["b"]]),
])  # fmt: skip
def test_one_mark_for_a_whole_column(cells: list[str], parts: list[list[str]]) -> None:
    marks = marks_of(cells, LABELS)
    assert [part(cell, marks) for cell in cells] == parts


def test_a_word_keeps_its_underscore_where_other_marks_part_words() -> None:
    marks = marks_of(["machine_learning; deep", "a、b"], WORDS)
    assert part("machine_learning; deep", marks) == ["machine_learning", "deep"]
    assert part("x_y_x", marks_of(["x_y_x", "z"], WORDS)) == ["x", "y", "x"]


def test_a_label_with_a_comma_is_one_and_that_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ["news, local|sport", "news, local", "sport", "art"] * 5)
    data = load(Data(train=path, dev_share=0.2), FORMS["multi_label"])
    assert data.labels == ("art", "news, local", "sport")
    assert data.said[0].endswith("; labels parted by '|', and not by ','")


def test_the_marks_that_are_there_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [f"1,3-diol_acid\nwater {n}" for n in range(20)], "keywords")
    said = load(Data(train=path), FORMS["keywords"]).said[0]
    assert said.endswith("; keywords parted by ',' '\\n', and not by '_'")


def test_a_file_beside_train_is_parted_as_that_is(tmp_path: Path) -> None:
    train = write(tmp_path / "a.csv", ["news, local|sport", "news, local", "sport", "art"] * 5)
    test = write(tmp_path / "b.csv", ["news, local", "art"])
    data = load(Data(train=train, test=test), FORMS["multi_label"])
    assert [each.gold for each in data.splits["test"]] == [("news, local",), ("art",)]


def test_choices_in_one_cell(tmp_path: Path) -> None:
    rows = [{"question": f"q{n}?", "choices": "red, dark|green|blue", "answer": "red, dark"} for n in range(9)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    example = load(Data(train=tmp_path / "a.jsonl"), FORMS["choice"]).splits["train"][0]
    assert (example.choices, example.gold) == (("red, dark", "green", "blue"), "0")

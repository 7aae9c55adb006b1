"""Label Studio's whole export is read as its JSON-MIN is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from danlu.data.dataset import Data, load, load_inputs
from danlu.data.forms import FORMS
from danlu.data.read import read_rows
from danlu.errors import InputError


def result(value: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    return {"id": "x", "from_name": name, "to_name": "text", "type": kind, "value": value}


def part(text: str, start: int, end: int, kind: str) -> dict[str, Any]:
    return result({"start": start, "end": end, "text": text[start:end], "labels": [kind]}, "labels", "label")


def task(number: int, text: str, *annotations: Any) -> dict[str, Any]:
    return {"id": number, "data": {"text": text}, "annotations": list(annotations), "predictions": []}


def written(file: Path, tasks: list[dict[str, Any]]) -> Path:
    file.write_text(json.dumps(tasks, ensure_ascii=False), encoding="utf-8")
    return file


def test_names_in_texts_are_as_in_the_short_export(tmp_path: Path) -> None:
    text = "王芳去成都"
    parts = [part(text, 0, 2, "PER"), part(text, 3, 5, "LOC")]
    whole = [task(1, text, {"result": [*parts, {"type": "relation", "from_id": "x", "to_id": "x"}]})]
    whole += [task(2, "没有名字", {"result": []})]  # somebody has looked, and there is none
    short = [{"id": 1, "text": text, "label": [each["value"] for each in parts]}]
    short += [{"id": 2, "text": "没有名字", "label": []}]
    read = [read_rows(written(tmp_path / f"{n}.json", each)) for n, each in enumerate((whole, short))]
    assert [row.cells for row in read[0].rows] == [row.cells for row in read[1].rows]
    data = load(Data(train=tmp_path / "0.json", dev=tmp_path / "0.json"), FORMS["tag"])
    tags = ["B-PER", "I-PER", "O", "B-LOC", "I-LOC"]
    assert [list(each.gold) for each in data.splits["train"]] == [tags, ["O"] * 4]


def test_choices_numbers_and_texts(tmp_path: Path) -> None:
    said = [
        result({"choices": ["good"]}, "choices", "tone"),
        result({"choices": ["a", "b"]}, "choices", "kinds"),
        result({"rating": 4}, "rating", "stars"),
        result({"text": ["so"]}, "textarea", "why"),
    ]
    table = read_rows(written(tmp_path / "a.json", [task(1, "a film", {"result": said})]))
    expected = {"id": 1, "text": "a film", "tone": "good", "kinds": ["a", "b"], "stars": 4, "why": "so"}
    assert table.rows[0].cells == expected


def test_each_annotation_is_a_row_but_those_cancelled(tmp_path: Path) -> None:
    good, bad = ({"result": [result({"choices": [each]}, "choices", "tone")]} for each in ("good", "bad"))
    tasks = [task(1, "a", good, bad), task(2, "b", {**good, "was_cancelled": True}), task(3, "c", bad)]
    table = read_rows(written(tmp_path / "a.json", tasks))
    assert [(row.cells["text"], row.cells.get("tone")) for row in table.rows] == [
        ("a", "good"), ("a", "bad"), ("b", None), ("c", "bad")
    ]  # fmt: skip


def test_a_file_to_predict_has_no_annotations(tmp_path: Path) -> None:
    inputs = load_inputs(written(tmp_path / "a.json", [task(1, "what")]), Data(train=tmp_path), FORMS["classify"])
    assert [each.texts for each in inputs.splits["test"]] == [("what",)]


@pytest.mark.parametrize("annotation", [7, {}, {"result": None}, {"result": [7]}, {"result": [{"from_name": "a"}]}])
def test_a_damaged_annotation_names_its_task(annotation: Any, tmp_path: Path) -> None:
    tasks = [task(1, "a", {"result": []}), task(2, "b", annotation)]
    with pytest.raises(InputError, match="item 2: an annotation must have a list 'result'"):
        read_rows(written(tmp_path / "a.json", tasks))


def test_a_control_that_speaks_twice_is_refused(tmp_path: Path) -> None:
    twice = [result({"choices": [each]}, "choices", "tone") for each in "ab"]
    with pytest.raises(InputError, match="an annotation says 'tone' twice"):
        read_rows(written(tmp_path / "a.json", [task(1, "a", {"result": twice})]))

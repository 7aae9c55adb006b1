"""Cells that spell lists, against what json, Python and numpy print, and files that pandas has written of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.data.dataset import Data, load
from danlu.data.forms import FORMS
from danlu.data.literals import literal
from danlu.errors import InputError

words = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), max_size=6)


@given(words)
def test_lists_of_json_and_python_come_back(value: list[str]) -> None:
    assert literal(json.dumps(value)) == literal(json.dumps(value, ensure_ascii=False)) == literal(repr(value)) == value


printed = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), min_size=1)


@given(st.lists(printed, min_size=1, max_size=9))
def test_lists_of_numpy_come_back(value: list[str]) -> None:
    assert literal(str(np.array(value, dtype=object))) == value
    assert literal(str(np.arange(len(value)))) == list(range(len(value)))


def test_objects_and_nested_lists_come_back() -> None:
    spans = [(0, 5, "PER"), (7, 9, "it's")]
    assert literal(repr(spans)) == [[0, 5, "PER"], [7, 9, "it's"]]
    squad = {"text": np.array(["x 1"], dtype=object), "answer_start": np.array([5], dtype=np.int32)}
    assert literal(repr(squad)) == {"text": ["x 1"], "answer_start": [5]}


NONE = ["", "[", "[deleted]", "[1] a", "{x}", "['a', 'b'", "[a b]", "__import__('os')", "[f()]"]


@pytest.mark.parametrize("cell", NONE)
def test_what_spells_no_list_is_a_text(cell: str) -> None:
    assert literal(cell) is None


ROWS: dict[str, dict[str, list[Any]]] = {
    "tag": {"tokens": [["Li", "Wei", "slept"], ["Oslo"]], "ner_tags": [["B-PER", "I-PER", "O"], ["B-LOC"]]},
    "multi_label": {"text": ["one", "two"], "labels": [["a", "b"], ["it's"]]},
    "keywords": {"abstract": ["one", "two"], "keywords": [["deep, wide", "b"], ["c"]]},
    "choice": {"question": ["q", "r"], "choices": [["x", "y"], ["z", "w"]], "answer": ["A", "B"]},
    "extract": {"question": ["q", "r"], "context": ["an x", "a y"], "id": [1, 2],
                "answers": [{"text": ["x"], "answer_start": [3]}, {"text": ["y"], "answer_start": [2]}]},
    "retrieve": {"query": ["q", "r"], "positives": [["x", "y"], ["z"]], "negatives": [["n"], []]},
    "chat": {"messages": [[{"role": "user", "content": "it's"}, {"role": "assistant", "content": 'a "b"'}]] * 2},
}  # fmt: skip


@pytest.mark.parametrize("form", ROWS)
@pytest.mark.parametrize("arrays", [False, True])
def test_lists_in_a_table_of_pandas_are_those_of_json(form: str, arrays: bool, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(ROWS[form])
    if arrays and form in ("tag", "multi_label", "keywords", "choice"):
        for column in frame.columns:
            frame[column] = [np.array(v, dtype=object) if isinstance(v, list) else v for v in frame[column]]
    frame.to_csv(tmp_path / "a.csv", index=False)
    pandas.DataFrame(ROWS[form]).to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    table, lines = (
        load(Data(train=tmp_path / name, dev=tmp_path / name), FORMS[form]).splits["train"]
        for name in ("a.csv", "a.jsonl")
    )
    assert [(each.texts, each.gold) for each in table] == [(each.texts, each.gold) for each in lines]


def test_a_list_that_is_cut_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("tokens,tags\n\"['a', 'b']\",\"['B-X', 'O']\"\n\"['a', 'b']\",\"['B-X', 'O\"\n")
    with pytest.raises(InputError, match=r"a.csv, line 3: the tags begins as a list, but cannot be read as one"):
        load(Data(train=tmp_path / "a.csv"), FORMS["tag"])

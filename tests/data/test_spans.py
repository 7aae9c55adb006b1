"""Entities by offset against their text, and tables with a token a row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.data.dataset import Data, load
from danlu.data.tagged import TAG, Tagged
from danlu.errors import InputError

ENGLISH, CHINESE = "Kim Lee, of Rome, ran.", "浙商银行的叶老桂说，iPhone 好。"


def read(folder: Path, *records: dict[str, Any], **said: Any) -> list[Tagged]:
    other = {"text": "Ann is here", "label": [[0, 3, "PER"]]}
    text = "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in [*records, other])
    (folder / "a.jsonl").write_text(text, encoding="utf-8")
    data = load(Data(train=folder / "a.jsonl", dev=folder / "a.jsonl", **said), TAG)
    return list(data.splits["train"])


def entities(example: Tagged) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for token, tag in zip(example.tokens, example.tags or (), strict=True):
        if tag.startswith("B-"):
            found.append((token, tag[2:]))
        elif tag.startswith("I-"):
            found[-1] = (found[-1][0] + token, tag[2:])
    return found


@pytest.mark.parametrize(
    ("text", "label", "expected"),
    [
        (ENGLISH, [[0, 7, "PER"], [12, 16, "LOC"]], [("KimLee", "PER"), ("Rome", "LOC")]),
        (ENGLISH, [{"start": 12, "end": 16, "label": "LOC", "text": "Rome"}], [("Rome", "LOC")]),
        (ENGLISH, [{"start_offset": 12, "end_offset": 16, "label": "LOC"}], [("Rome", "LOC")]),
        (ENGLISH, [{"start": 12, "end": 16, "labels": ["LOC"], "text": "Rome"}], [("Rome", "LOC")]),
        (ENGLISH, [[11, 16, "LOC"]], [("Rome", "LOC")]),
        (ENGLISH, [], []),
        (
            CHINESE,
            {"name": {"叶老桂": [[5, 7]]}, "company": {"浙商银行": [[0, 3]]}},
            [("浙商银行", "company"), ("叶老桂", "name")],
        ),
        (CHINESE, [[10, 16, "product"]], [("iPhone", "product")]),
    ],
)
def test_entities_become_tags(tmp_path: Path, text: str, label: Any, expected: list[tuple[str, str]]) -> None:
    example = read(tmp_path, {"text": text, "label": label})[0]
    assert entities(example) == expected
    assert "".join(example.tokens) == "".join(text.split())


@given(
    st.lists(st.tuples(st.sampled_from(["Kim", "北京", "Rome,", "x-y", "ran"]), st.booleans()), min_size=1, max_size=6)
)
def test_entities_come_back(tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[str, bool]]) -> None:
    text, spans = "", []
    for part, marked in parts:
        if marked:
            spans.append([len(text), len(text) + len(part), "X"])
        text += part + " "
    example = read(tmp_path_factory.mktemp("spans"), {"text": text, "label": spans})[0]
    assert [name for name, _ in entities(example)] == [part for part, marked in parts if marked]


@pytest.mark.parametrize(
    ("text", "label", "message"),
    [
        (ENGLISH, [[0, 5, "PER"]], "has the entity 'Kim L', a part of the word 'Lee'"),
        (ENGLISH, [[0, 7, "PER"], [4, 7, "PER"]], "two entities that overlap, 'Kim Lee' and 'Lee'"),
        (ENGLISH, [[0, 99, "PER"]], "an entity from 0 to 99, but the text has 22 characters"),
        (ENGLISH, [{"start": 11, "end": 15, "label": "LOC", "text": "Rome"}],
         "the entity 'Rome' at 11, where ' Rom' stands; it is at 12"),
        (CHINESE, {"name": {"叶老桂": [[4, 6]]}}, "the entity '叶老桂' at 4, where '的叶老' stands; it is at 5"),
        (ENGLISH, [[0, "x", "PER"]], "must say start, end and type"),
        (ENGLISH, [[3, 4, "PER"]], "an entity of white space, from 3 to 4"),
    ],
)  # fmt: skip
def test_offsets_that_do_not_match_are_one_line(tmp_path: Path, text: str, label: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, {"text": text, "label": label})
    assert "a.jsonl, line 1: " in str(caught.value)


def test_offsets_are_mended_where_the_recipe_says_so(tmp_path: Path) -> None:
    label = [{"start": 11, "end": 15, "label": "LOC", "text": "Rome"}]
    assert entities(read(tmp_path, {"text": ENGLISH, "label": label}, mend=True)[0]) == [("Rome", "LOC")]


def test_a_table_with_a_token_a_row(tmp_path: Path) -> None:
    rows = [
        "Sentence #,Word,POS,Tag",
        "Sentence: 1,Kim,NNP,B-per",
        ",ran,VBD,O",
        "Sentence: 2,Rome,NNP,B-geo",
        ",won,V,O",
    ]
    path = tmp_path / "a.csv"
    path.write_text("\n".join([*rows, "Sentence: 3,Oh,UH,I-geo", ""]), encoding="utf-8")
    with pytest.raises(InputError, match=r"a\.csv, line 6: the tag 'I-geo' follows the beginning"):
        load(Data(train=path, dev=path), TAG)
    path.write_text("\n".join([*rows, ""]), encoding="utf-8")
    data = load(Data(train=path, dev=path), TAG)
    assert [(each.tokens, each.tags) for each in data.splits["train"]] == [
        (("Kim", "ran"), ("B-per", "O")), (("Rome", "won"), ("B-geo", "O"))]  # fmt: skip
    assert data.columns == {"tokens": "Word", "tags": "Tag"}
    assert "sentences by column 'Sentence #'" in data.said[0]


def test_spans_beside_tokens_that_are_objects_are_of_the_text(tmp_path: Path) -> None:
    """Prodigy writes both."""
    row = {"text": ENGLISH, "tokens": [{"text": "Kim", "start": 0, "end": 3, "id": 0}],
           "spans": [{"start": 12, "end": 16, "label": "LOC", "token_start": 4, "token_end": 4}]}  # fmt: skip
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    data = load(Data(train=tmp_path / "a.jsonl", dev=tmp_path / "a.jsonl"), TAG)
    assert entities(data.splits["train"][0]) == [("Rome", "LOC")]

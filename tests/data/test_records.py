"""JSON, JSON lines, Parquet and SQuAD against what json and Arrow wrote."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.data.records import read_json, read_jsonl, read_parquet
from danlu.errors import InputError

PATH = Path("a.json")
values = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3))
keys = st.text(min_size=1).filter(lambda name: name not in ("qas", "paragraphs"))  # which are SQuAD's
records = st.lists(st.dictionaries(keys, values, min_size=1), min_size=1, max_size=5)


@given(records, st.sampled_from([None, 2]))
def test_json_comes_back_with_its_lines(written: list[dict[str, object]], indent: int | None) -> None:
    text = json.dumps(written, indent=indent)
    table = read_json(PATH, text)
    assert [dict(row.cells) for row in table.rows] == written
    if indent:  # a record begins at a line of two spaces and a brace
        begins = [number for number, line in enumerate(text.split("\n"), 1) if line.startswith("  {")]
        assert [row.place.number for row in table.rows] == begins


@given(records)
def test_json_lines_come_back(written: list[dict[str, object]]) -> None:
    text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in written)
    for read in (read_jsonl, read_json):  # OCNLI's .json is lines
        if read is read_json and len(written) == 1:
            continue  # one object alone is looked into for a list
        table = read(PATH, text)
        assert [dict(row.cells) for row in table.rows] == written
        assert [row.place.number for row in table.rows] == list(range(1, len(written) + 1))


def test_records_of_one_line_are_told_apart_by_their_number() -> None:
    table = read_json(PATH, '[{"a": 1}, {"a": 2},\n{"a": 3}]')
    assert [str(row.place) for row in table.rows] == ["a.json, item 1", "a.json, item 2", "a.json, item 3"]
    assert str(read_json(PATH, '[{"a": 1},\n{"a": 3}]').rows[1].place) == "a.json, line 2"


def test_lines_with_the_questions_about_them() -> None:
    """As DREAM and C3 have them, a text and its questions one after the other."""
    asked = [
        {"question": "谁？", "choice": ["甲", "乙"], "answer": "甲"},
        {"question": "何时？", "choice": ["今天", "明天"]},
    ]
    table = read_json(PATH, json.dumps([[["男：你好", "女：你好"], asked, "m-1"], [["一"], asked[:1], "m-2"]]))
    assert [row.cells["context"] for row in table.rows] == ["男：你好\n女：你好", "男：你好\n女：你好", "一"]
    assert table.rows[0].cells["choices"] == ["甲", "乙"] and table.rows[1].cells["question"] == "何时？"
    assert [str(row.place) for row in table.rows] == [f"a.json, question {number}" for number in (1, 2, 3)]
    with pytest.raises(InputError, match=r"a\.json, line 1: it must be an object that names its values"):
        read_json(PATH, json.dumps([[["男：你好"], ["谁？"], "m-1"]]))


def test_a_list_within_an_object() -> None:
    assert len(read_json(PATH, '{"version": "1", "data": [{"a": 1}, {"a": 2}]}').rows) == 2
    assert len(read_json(PATH, '{"rows": [{"a": 1}]}').rows) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"a": 1},\n {"a": }]', r"a\.json, line 2: it is not JSON"),
        ('[{"a": 1}\n {"a": 2}]', r"a\.json, line 2: it is not JSON: a comma"),
        ('[{"a": 1},\n 7]', r"a\.json, line 2: it must be an object that names its values, .*; got 7"),
        ('["good", "a text"]\n["bad", "b"]', r"a\.json, line 1: it must be an object that names its values"),
        ('[{"a": 1}] x', r"something follows"),
        ("[]", "holds no record"),
        ("7", r"must begin with \[ or \{"),
        ('{"a": 1}', "must hold a list of objects.*it holds a"),
        ('{"a": 1}\n{"a": ', r"a\.json, line 2: it is not JSON"),
        ('{"data": [{"paragraphs": [{"qas": []}]}]}', "no 'context' or 'context_text'; it has qas"),
        ("[" * 100_000, "nested too deep"),
        ('[{"a": 1},\n {"a": 1, "b": 2, "a": 3}]', r"a\.json, line 2: an object has the key 'a' twice"),
        ('{"a": 1}\n{"a": {"b": 1, "b": 2}}', r"a\.json, line 2: an object has the key 'b' twice"),
        ('{"data": [{"a": 1, "a": 2}]}', r"a\.json: an object has the key 'a' twice"),
        ('[{"a": 1},\n {"a": ' + "1" * 5000 + "}]", r"a\.json, line 2: a number in it has too many digits"),
        ('{"data": [{"a": ' + "1" * 5000 + "}]}", r"a\.json: a number in it has too many digits"),
        ('{"a": 1}\n{"a": ' + "1" * 5000 + "}", r"a\.json, line 2: it is not JSON: a number in it has too many"),
        ('{"a": 1}\n{"a": ', r"a\.json, line 2: it is not JSON: Expecting value \(column 7\)$"),
        ('{"a": [1, 2], "b": [1]}', "must hold a list of objects.*it holds a, b"),
    ],
)
def test_broken_json_is_one_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_json(PATH, text)


def test_columns_of_pandas_and_of_datasets_are_rows(tmp_path: Path) -> None:
    import datasets
    import pandas

    rows = [{"text": "ab", "label": 1}, {"text": "c", "label": 0}]
    pandas.DataFrame(rows, index=[4, 7]).to_json(tmp_path / "a.json")
    for text in ((tmp_path / "a.json").read_text(), json.dumps(datasets.Dataset.from_list(rows).to_dict())):
        table = read_json(PATH, text)
        assert [dict(row.cells) for row in table.rows] == rows
        assert str(table.rows[1].place) == "a.json, item 2"


def test_a_list_under_the_name_of_json_lines_is_said() -> None:
    with pytest.raises(InputError, match=r"a\.json, line 1: it begins a list, not a line of JSON lines"):
        read_jsonl(PATH, '[{"a": 1},\n{"a": 2}]')


def test_squad_is_a_row_a_question() -> None:
    answers = [{"text": "Paris", "answer_start": 0}]
    article = {"title": "t", "paragraphs": [{"context": "Paris is", "qas": [
        {"id": "1", "question": "where?", "answers": answers},
        {"id": "2", "question": "who?", "answers": [], "is_impossible": True, "plausible_answers": answers},
    ]}]}  # fmt: skip
    table = read_json(PATH, json.dumps({"version": "v2.0", "data": [article]}))
    assert [row.cells["id"] for row in table.rows] == ["1", "2"]
    assert table.rows[0].cells == {
        "title": "t", "id": "1", "question": "where?", "answers": answers, "context": "Paris is"
    }  # fmt: skip
    assert str(table.rows[1].place) == "a.json, question 2"


def test_the_first_form_of_cmrc() -> None:
    text = json.dumps([{"context_id": "T", "context_text": "北京", "title": "t", "qas": [
        {"query_text": "哪里？", "query_id": "T_0", "answers": ["北京"]}]}])  # fmt: skip
    cells = read_json(PATH, text).rows[0].cells
    assert (cells["question"], cells["context"], cells["id"]) == ("哪里？", "北京", "T_0")


def test_parquet_with_the_classes_of_datasets(tmp_path: Path) -> None:
    features = {
        "label": {"names": ["neg", "pos"], "_type": "ClassLabel"},
        "ner_tags": {"feature": {"names": ["O", "B-PER"], "_type": "ClassLabel"}, "_type": "Sequence"},
        "text": {"dtype": "string", "_type": "Value"},
    }
    table = pyarrow.table({"text": ["a", "b", "c"], "label": [0, 1, -1], "ner_tags": [[0, 1], [1], []]})
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    found = read_parquet(tmp_path / "a.parquet")
    assert [row.cells["label"] for row in found.rows] == ["neg", "pos", None]
    assert [row.cells["ner_tags"] for row in found.rows] == [["O", "B-PER"], ["B-PER"], []]
    assert str(found.rows[2].place) == f"{tmp_path / 'a.parquet'}, row 3"


def test_parquet_as_it_was_written(tmp_path: Path) -> None:
    columns = {"text": ["a", None], "n": [1, 2], "list": [["x"], []], "s": [{"k": 1}, {"k": 2}]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    found = read_parquet(tmp_path / "a.parquet")
    assert {name: found.values(name) for name in found.columns} == {**columns, "s.k": [1, 2]}
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match="is no Parquet that can be read"):
        read_parquet(tmp_path / "b.parquet")


def test_what_objects_hold_are_columns_too() -> None:
    two = read_jsonl(PATH, '{"t": {"en": "a", "zh": 1}}\n{"t": {"en": "b", "zh": null}}\n')
    assert two.columns == ("t", "t.en", "t.zh")
    assert [row.cells["t.en"] for row in two.rows] == ["a", "b"]
    for other in ('{"t": {"en": "b"}}', '{"t": null}', "{}", '{"t": {"en": "b", "zh": [1]}}'):  # not all hold the same
        assert read_jsonl(PATH, f'{{"t": {{"en": "a", "zh": 1}}}}\n{other}\n').columns == ("t",)


def test_the_time_of_a_long_list_grows_as_its_length() -> None:
    text = json.dumps([{"a": number} for number in range(30_000)], indent=1)
    before = time.process_time()
    assert len(read_json(PATH, text).rows) == 30_000
    assert time.process_time() - before < 5  # for each record again, it were a minute


def test_a_nan_in_the_place_of_a_value_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"label": [1.0, float("nan"), None], "text": ["a", "b", "nan"]}), path)
    assert read_parquet(path).values("label") == [1.0, None, None]
    assert read_parquet(path).values("text") == ["a", "b", "nan"]
    assert read_jsonl(Path("a"), '{"label": NaN}\n{"label": 2}').values("label") == [None, 2]

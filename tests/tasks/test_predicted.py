"""What ``danlu predict`` writes: the columns of the file that was read, as they are, and beside them what is said."""

from __future__ import annotations

import csv
import datetime
import decimal
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas
import pytest

from danlu.data.dataset import Data, Dataset, load, load_inputs
from danlu.data.forms import FORMS
from danlu.data.labelled import CLASSIFY
from danlu.evaluate.predictions import UNITS, read_predictions
from danlu.rate.answers import ANSWER_FIELDS, PROMPT_FIELDS, read_answers
from danlu.tasks.classify import Classify
from danlu.tasks.model_folder import Trained
from danlu.tasks.predict import as_said
from danlu.tasks.predicted import LINE, WRITERS, Source
from danlu.tasks.task import Answer, Known


def read(path: Path, form: str = "classify", **settings: Any) -> Dataset[Any]:
    return load_inputs(path, Data(train=path, **settings), FORMS[form])


def written(path: Path, ending: str, *, form: str = "classify", says: Any = "good", **settings: Any) -> str:
    """What is written where a model says the same of each example."""
    dataset = read(path, form, **settings)
    assert dataset.table is not None
    examples = dataset.splits["test"]
    answers = [says if isinstance(says, Answer) else Answer(says, 0.5)] * len(examples)
    return WRITERS[ending](Source.of(dataset.table, dataset.columns), examples, answers).decode()


def rows_of(text: str, delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    path = tmp_path / "new.csv"
    table = [
        ["id", "text", "note", "label"],
        ["a7", "to be", 'so "it" is,\nhere', "good"],
        ["b2", "not once", "", "bad"],
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(table)
    return path


def test_numbers_that_json_has_not_are_null(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "to be", "n": NaN, "of": {"x": [-Infinity, 1.5]}}\n')
    [line] = lines_of(written(tmp_path / "a.jsonl", ".jsonl", says=float("inf")))
    assert (line["n"], line["of"], line["prediction"]) == (None, {"x": [None, 1.5]}, None)


@pytest.mark.parametrize(("ending", "delimiter"), [(".csv", ","), (".tsv", "\t")])
def test_a_table_has_all_columns_in_front_as_they_are(ending: str, delimiter: str, reviews: Path) -> None:
    found = rows_of(written(reviews, ending), delimiter)
    with reviews.open(newline="", encoding="utf-8") as file:
        before = list(csv.reader(file))
    assert [row[:4] for row in found] == before
    assert [row[4:] for row in found] == [["line", "prediction", "confidence"], ["2", "good", "0.500000"],
                                          ["4", "good", "0.500000"]]  # fmt: skip


def test_it_is_joined_by_pandas_with_the_file(reviews: Path) -> None:
    found, before = pandas.read_csv(io.StringIO(written(reviews, ".csv"))), pandas.read_csv(reviews)
    joined = before.merge(found[["id", "prediction"]], on="id")
    assert joined["prediction"].tolist() == ["good", "good"] and joined["label"].tolist() == ["good", "bad"]
    lines = pandas.read_json(io.StringIO(written(reviews, ".jsonl")), lines=True)
    assert lines["id"].tolist() == ["a7", "b2"]


def test_a_line_has_beside_its_texts_what_the_task_does_not_read(reviews: Path) -> None:
    first, second = lines_of(written(reviews, ".jsonl"))
    assert list(first) == ["id", "note", "file", "line", "texts", "gold", "prediction", "confidence"]
    assert first["id"] == "a7" and first["note"] == 'so "it" is,\nhere' and first["texts"] == ["to be"]
    assert (second["id"], second["note"], second["gold"]) == ("b2", "", "bad")


def test_rows_that_are_left_out_move_no_other(tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text("id,text\n1,to be\n2,\n3,not once\n")
    found = rows_of(written(path, ".csv", mend=True))
    assert [row[:3] for row in found] == [["id", "text", "line"], ["1", "to be", "2"], ["3", "not once", "4"]]


def test_columns_without_names_are_called_as_what_they_were_read_for(tmp_path: Path) -> None:
    path = tmp_path / "new.tsv"
    path.write_text("to be or not\t7\tx\nnot once a time\t8\ty\n")
    settings = {"header": False, "columns": {"text": 1}}
    found = rows_of(written(path, ".csv", **settings))
    assert found[0] == ["text", "column2", "column3", "line", "prediction", "confidence"]
    assert found[1][:3] == ["to be or not", "7", "x"]
    first, _ = lines_of(written(path, ".jsonl", **settings))
    assert (first["column2"], first["column3"], first["texts"]) == ("7", "x", ["to be or not"])


def test_names_that_the_answers_have_are_told_and_kept_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new.csv"
    path.write_text("line,text,prediction,input.prediction,answer\n9,to be,old,older,a\n8,not once,old,older,b\n")
    found = rows_of(written(path, ".csv"))
    assert found[0] == ["input.line", "text", "input.input.prediction", "input.prediction", "answer",
                        "line", "prediction", "confidence"]  # fmt: skip
    assert found[1] == ["9", "to be", "old", "older", "a", "2", "good", "0.500000"]
    said = capsys.readouterr().out
    assert f"{path}: its column 'line' is called 'input.line' beside the predictions" in said
    assert "'answer'" not in said
    first, _ = lines_of(written(path, ".jsonl"))
    assert (first["line"], first["input.line"], first["prediction"], first["input.answer"]) == (2, "9", "good", "a")


def test_what_parquet_has_and_json_has_not_is_text(tmp_path: Path) -> None:
    path = tmp_path / "new.parquet"
    pandas.DataFrame({
        "text": ["to be", "not once"], "day": [datetime.date(2026, 1, 2), datetime.date(2026, 1, 3)],
        "price": [decimal.Decimal("1.50"), None], "picture": [b"\x00\xff", b""], "tags": [["a", "b"], []],
    }).to_parquet(path)  # fmt: skip
    found = rows_of(written(path, ".csv"))
    assert found[0][:5] == ["text", "day", "price", "picture", "tags"] and found[0][5] == "row"
    assert found[1][:6] == ["to be", "2026-01-02", "1.50", "2 bytes", '["a", "b"]', "1"] and found[2][2] == ""
    first, second = lines_of(written(path, ".jsonl"))
    assert (first["day"], first["price"], first["picture"], first["tags"]) == (
        "2026-01-02",
        "1.50",
        "2 bytes",
        ["a", "b"],
    )
    assert second["price"] is None and second["row"] == 2


def test_objects_stay_whole(tmp_path: Path) -> None:
    path = tmp_path / "new.jsonl"
    lines = [{"id": n, "translation": {"en": f"to be {n}", "de": "sein"}, "meta": {"a": [n]}} for n in (1, 2)]
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    columns = {"source": "translation.en", "target": "translation.de"}
    found = rows_of(written(path, ".csv", form="generate", columns=columns))
    assert found[0] == ["id", "translation", "meta", "line", "text1", "prediction", "confidence"]
    assert json.loads(found[1][1]) == lines[0]["translation"] and found[1][4] == "to be 1"
    first, _ = lines_of(written(path, ".jsonl", form="generate", columns=columns))
    assert "translation" not in first and first["meta"] == {"a": [1]} and first["gold"] == ["sein"]


def test_sentences_have_their_columns_as_lists(tmp_path: Path) -> None:
    path = tmp_path / "new.conll"
    path.write_text("To\tP\nParis\tN\n\nBe\tV\n")
    said = Answer(("O",), None, more={"words": ["To", "Paris"]})
    found = rows_of(written(path, ".csv", form="tag", says=said, columns={"tokens": 1}))
    assert found[0] == ["tokens", "column2", "line", "text1", "prediction", "confidence", "words"]
    assert [json.loads(cell) for cell in found[1][:2]] == [["To", "Paris"], ["P", "N"]]
    assert [row[2:4] for row in found[1:]] == [["1", "To Paris"], ["4", "Be"]]


def test_what_both_say_stands_once(tmp_path: Path) -> None:
    path = tmp_path / "new.json"
    asked = [{"id": "q1", "question": "what?", "answers": []}]
    path.write_text(json.dumps({"data": [{"title": "t", "paragraphs": [{"context": "to be", "qas": asked}]}]}))
    said = Answer("be", 0.5, more={"id": "q1", "start": 3})
    found = rows_of(written(path, ".csv", form="extract", says=said))
    assert found[0] == [
        "title", "id", "question", "answers", "context", "number", "prediction", "confidence", "start"
    ]  # fmt: skip
    assert found[1] == ["t", "q1", "what?", "[]", "to be", "1", "be", "0.500000", "3"]


def test_half_a_character_in_another_column_is_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "new.jsonl"
    path.write_text('{"text": "to be", "note": "\\ud83d"}\n{"text": "not once", "note": "x"}\n')
    first, _ = lines_of(written(path, ".jsonl"))
    assert first["note"] == "\ud83d"
    assert rows_of(written(path, ".csv"))[1][1] == "\\ud83d"


def test_other_commands_read_the_lines_whatever_the_columns_are_called(tmp_path: Path) -> None:
    assert {*PROMPT_FIELDS, *ANSWER_FIELDS, *UNITS} <= set(LINE)
    path, out = tmp_path / "new.csv", tmp_path / "out.jsonl"
    names = [*LINE, "review", "id"]
    rows: Sequence[Sequence[str]] = [[f"{name} {number}" for name in names] for number in (1, 2)]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([names, *rows])
    out.write_text(written(path, ".jsonl", columns={"text": "review"}))
    material = read_answers([out])
    assert material.prompts == ("review 1", "review 2") and material.answers == (("good",), ("good",))
    first, second = read_predictions(out)
    assert (first.place, first.texts, first.said) == ("new.csv, line 2", ("review 1",), "good")
    assert second.place == "new.csv, line 3" and second.figures == {} and second.words == ()


@pytest.mark.parametrize(("text", "said", "texts"), [
    ("text,Message\nno,come home\nno,win a prize\n", {"text": 2}, ["come home", "win a prize"]),
    ("text,Message\nno,come home\nno,win a prize\n", {"text": "Message"}, ["come home", "win a prize"]),
    ("My words,other\ncome home,no\nwin a prize,no\n", {"text": "My words"}, ["come home", "win a prize"]),
    ("come home,no\nwin a prize,no\n", {"text": 1}, ["come home", "win a prize"]),  # which was the label's
])  # fmt: skip
def test_a_column_that_is_said_of_a_new_file_is_read(
    text: str, said: dict[str, str | int], texts: list[str], tmp_path: Path
) -> None:
    train = tmp_path / "train.tsv"
    train.write_text("".join(f"{'ham' if number % 2 else 'spam'}\ttext number {number}\n" for number in range(20)))
    data = load(Data(train=train), CLASSIFY)
    trained = as_said(Trained(Classify(), Known(data.labels), 9, Data(train=train), data.columns), said)
    new = tmp_path / "new.csv"
    new.write_text(text)
    found = load_inputs(new, trained.data, CLASSIFY, columns=trained.columns)
    assert [each.texts[0] for each in found.splits["test"]] == texts

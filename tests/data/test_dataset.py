"""From a recipe's files to checked splits; each malformed file is one line, and nothing is half read."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from danlu.data.chosen import CHOICE
from danlu.data.columns import ColumnError
from danlu.data.dataset import Data, load, load_inputs
from danlu.data.extracted import EXTRACT
from danlu.data.forms import FORMS
from danlu.data.labelled import CLASSIFY, PAIR, SIMILARITY
from danlu.errors import InputError, RecipeError

TRAIN = [(f"text number {number} is {word}", word) for number in range(10) for word in ("good", "bad")]


def write(path: Path, rows: list[tuple[Any, ...]], header: tuple[str, ...] = ("text", "label")) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def test_files_to_splits(tmp_path: Path) -> None:
    settings = Data(
        train=write(tmp_path / "train.csv", TRAIN),
        dev=write(tmp_path / "dev.csv", TRAIN[:4]),
        test=write(tmp_path / "test.csv", TRAIN[4:6]),
    )
    data = load(settings, CLASSIFY)
    assert {name: len(part) for name, part in data.splits.items()} == {"train": 20, "dev": 4, "test": 2}
    assert data.labels == ("bad", "good")
    assert [(each.texts[0], each.label) for each in data.splits["train"]] == TRAIN
    assert data.said[0] == (
        f"{tmp_path / 'train.csv'}: 20 rows; text from column 'text', label from column 'label' (2 values: bad, good)"
    )


def test_one_file_is_split_and_said(tmp_path: Path) -> None:
    data = load(Data(train=write(tmp_path / "a.csv", TRAIN), dev_share=0.2, test_share=0.2), CLASSIFY)
    assert {name: len(part) for name, part in data.splits.items()} == {"train": 12, "dev": 4, "test": 4}
    assert data.said[-1].endswith(": 20 examples split by label and the hash of their text: 12 train, 4 dev, 4 test")
    again = load(Data(train=tmp_path / "a.csv", dev_share=0.2, test_share=0.2), CLASSIFY)
    assert again.splits == data.splits
    other = load(Data(train=tmp_path / "a.csv", dev_share=0.2, test_share=0.2, seed=1), CLASSIFY)
    assert other.splits != data.splits


def test_too_few_texts_to_split_are_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [("the same", "ab"[number % 2]) for number in range(30)])
    with pytest.raises(InputError, match=r"a\.csv: 30 examples of 1 different text are too few to split"):
        load(Data(train=path), CLASSIFY)


def test_a_column_says_the_split(tmp_path: Path) -> None:
    rows = [("train", *row) for row in TRAIN] + [("Validation", *TRAIN[0]), ("test", *TRAIN[1])]
    path = write(tmp_path / "a.csv", rows, ("split", "text", "label"))
    data = load(Data(train=path, split_column="split"), CLASSIFY)
    assert {name: len(part) for name, part in data.splits.items()} == {"train": 20, "dev": 1, "test": 1}
    with pytest.raises(InputError, match=r"split_column: .*a\.csv has no column 'spilt'; did you mean 'split'\?"):
        load(Data(train=path, split_column="spilt"), CLASSIFY)
    write(path, [*rows, ("tset", *TRAIN[0])], ("split", "text", "label"))
    with pytest.raises(InputError, match=r"a\.csv, line 24: the split 'tset' of column 'split'; did you mean 'test'\?"):
        load(Data(train=path, split_column="split"), CLASSIFY)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("", "good")], r"train\.csv, line 22: the text is empty"),
        ([("  ", "good")], r"train\.csv, line 22: the text is empty"),
        ([("a", "")], r"train\.csv, line 22: the label is empty"),
        ([("a", "1")], r"line 22: the label '1' is a whole number, but 20 others are text, such as 'good' in line 2"),
    ],
)
def test_a_malformed_row_is_one_line(tmp_path: Path, rows: list[tuple[Any, ...]], message: str) -> None:
    path = write(tmp_path / "train.csv", [*TRAIN, *rows])
    with pytest.raises(InputError, match=message) as caught:
        load(Data(train=path), CLASSIFY)
    assert "\n" not in str(caught.value)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["train.csv"]


def test_labels_of_two_types(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [(text, int(label == "good")) for text, label in TRAIN] + [("odd", "1.0")])
    with pytest.raises(InputError, match=r"line 22: the label '1\.0' is a number with a point, but 20 others"):
        load(Data(train=path), CLASSIFY)
    lines = [{"text": text, "label": int(label == "good")} for text, label in TRAIN]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(x) + "\n" for x in [*lines, {"text": "odd", "label": "1"}]))
    with pytest.raises(InputError, match=r"a\.jsonl, line 21: the label '1' is text, but 20 others are a whole number"):
        load(Data(train=tmp_path / "a.jsonl"), CLASSIFY)
    mixed = write(tmp_path / "b.csv", [*TRAIN, ("odd", "1")])
    assert load(Data(train=mixed, labels=("good", "bad", "1")), CLASSIFY).labels == ("good", "bad", "1")


def test_a_label_that_only_a_test_file_has(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv", TRAIN)
    test = write(tmp_path / "test.csv", [TRAIN[0], ("a new one", "godd")])
    near = r"did you mean 'good'\? \(choices: bad, good\)"
    message = rf"test\.csv, line 3: the label 'godd' does not occur in .*train\.csv.*{near}"
    with pytest.raises(InputError, match=message):
        load(Data(train=train, test=test), CLASSIFY)
    mended = load(Data(train=train, test=test, mend=True), CLASSIFY)
    assert len(mended.splits["test"]) == 1
    assert any("1 × label that does not occur in" in line for line in mended.said)
    with pytest.raises(InputError, match=r"train\.csv, line 3: the label 'bad' does not occur in labels"):
        load(Data(train=train, labels=("good", "fair")), CLASSIFY)


def test_one_label_alone_and_labels_that_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [(text, "good") for text, _ in TRAIN])
    with pytest.raises(InputError, match=r"a\.csv: all 20 labels are 'good'; there must be at least 2"):
        load(Data(train=path, columns={"text": "text", "label": "label"}), CLASSIFY)
    write(path, [*TRAIN, ("odd", "-")])
    data = load(Data(train=path, leave_out=("-",)), CLASSIFY)
    assert data.labels == ("bad", "good")
    assert "1 rows left out by their label" in data.said[0]
    with pytest.raises(InputError, match=r"leave_out: no row of .* is left"):
        load(Data(train=path, leave_out=("-", "good", "bad")), CLASSIFY)


def test_numbers_are_labels_in_the_order_of_their_size(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [(f"text {n} of it", n % 12) for n in range(48)])
    assert load(Data(train=path), CLASSIFY).labels == tuple(map(str, range(12)))
    assert Data.model_validate({"train": path, "labels": [0, 1], "leave_out": [-1]}).labels == ("0", "1")


def test_rows_that_are_of_no_use_are_left_out_where_the_recipe_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [*TRAIN, ("", "good"), ("a", ""), ("", "bad")])
    data = load(Data(train=path, mend=True), CLASSIFY)
    assert sum(map(len, data.splits.values())) == 20
    assert f"{path}: 2 × row left out as the text is empty; the first: {path}, line 22" in data.said
    with pytest.raises(
        InputError, match=r"line 22: the text is empty \(3 of 23 rows cannot be read; data: \{mend: true\}"
    ):
        load(Data(train=path), CLASSIFY)
    write(path, [("", "good"), ("", "bad")])
    with pytest.raises(InputError, match="no example is left"):
        load(Data(train=path, mend=True), CLASSIFY)


def test_answers_are_mended_where_the_recipe_says_so(tmp_path: Path) -> None:
    context = "北京是首都，北京很大。"
    rows = [("T1", "首都", 2), ("T2", "北京", 7), ("T3", "上海", 0), ("T4", "很大", 8)]
    qas = [{"id": id, "question": f"问{id}", "answers": [{"text": text, "answer_start": at}]} for id, text, at in rows]
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"data": [{"paragraphs": [{"context": context, "qas": qas}]}]}), encoding="utf-8")
    with pytest.raises(InputError, match=r"a\.json, question 1: id T1: the answer '首都' is not at answer_start 2"):
        load(Data(train=path, dev=path), EXTRACT)
    data = load(Data(train=path, dev=path, mend=True), EXTRACT)
    starts = [answer.start for each in data.splits["train"] for answer in each.answers or ()]
    assert starts == [3, 6, None, 8]
    assert any("2 × answer_start that did not match" in line for line in data.said)
    assert any("1 × answer that is not in its context" in line for line in data.said)


def test_a_dev_file_is_read_as_the_train_file_is(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("".join(f"{text}\t{label}\n" for text, label in TRAIN), encoding="utf-8")
    (tmp_path / "dev.tsv").write_text("text\tgood\nlabel it\tbad\n", encoding="utf-8")  # would pass for a header
    assert len(load(Data(train=tmp_path / "train.tsv", dev=tmp_path / "dev.tsv"), CLASSIFY).splits["dev"]) == 2
    names = ("rezension", "klasse_b")
    train = write(tmp_path / "train.csv", TRAIN, names)
    dev = write(tmp_path / "dev.csv", [(label, text) for text, label in TRAIN], names[::-1])
    settings = Data(train=train, dev=dev, columns={"text": "rezension"})
    data = load(settings, CLASSIFY)
    assert data.columns == {"text": "rezension", "label": "klasse_b"}
    assert data.splits["dev"][0].texts == data.splits["train"][0].texts


def test_a_file_to_be_predicted_needs_no_labels(tmp_path: Path) -> None:
    settings = Data(train=write(tmp_path / "train.csv", TRAIN, ("review", "stars_x")))
    data = load(settings, CLASSIFY)
    new = write(tmp_path / "new.csv", [("one",), ("two, it is",)], ("review",))
    inputs = load_inputs(new, settings, CLASSIFY, columns=data.columns).splits["test"]
    assert [(each.texts, each.label) for each in inputs] == [(("one",), None), (("two, it is",), None)]
    (tmp_path / "new.txt").write_text("one\ntwo, it is\n", encoding="utf-8")
    assert len(load_inputs(tmp_path / "new.txt", settings, CLASSIFY, columns=data.columns).splits["test"]) == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tarin.csv", r"train: there is no file .*tarin\.csv; did you mean '.*train\.csv'\?"),
        ("a.xlsx", r"cannot tell how to read '.*a\.xlsx' by its ending \(choices: \.csv.*\); save its table as \.csv"),
        ("empty.csv", r"empty\.csv is empty"),
        (".", "is a folder; name a file in it"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, message: str) -> None:
    write(tmp_path / "train.csv", TRAIN)
    (tmp_path / "a.xlsx").touch()
    (tmp_path / "empty.csv").write_text("\n\n")
    with pytest.raises(InputError, match=message):
        load(Data(train=tmp_path / name), CLASSIFY)


@pytest.mark.parametrize(("lines", "texts"), [
    (["text", "one", "two"], ["one", "two"]),
    (["review", "text"], ["text"]),  # only the first can be names
    (["one", "text", "two"], ["one", "text", "two"]),
    (["text"], ["text"]),
])  # fmt: skip
def test_names_above_a_file_are_no_example_where_training_had_none(
    lines: list[str], texts: list[str], tmp_path: Path
) -> None:
    train = tmp_path / "train.tsv"
    train.write_text("".join(f"text number {number}\t{number % 2}\n" for number in range(20)))
    data = load(Data(train=train), CLASSIFY)
    assert data.columns == {"text": "1", "label": "2"}
    new = tmp_path / "new.csv"
    new.write_text("".join(f"{line}\n" for line in lines))
    found = load_inputs(new, Data(train=train), CLASSIFY, columns=data.columns)
    assert [each.texts[0] for each in found.splits["test"]] == texts
    assert any("the first row names the columns" in line for line in found.said) is (len(texts) < len(lines))


@pytest.mark.parametrize(("text", "texts"), [
    ("Message,Date\ncome home,2024-01-01\nwin a prize,2024-01-02\n", ["come home", "win a prize"]),
    ("come home\nwin a prize\n", ["come home", "win a prize"]),  # its only column is where train had the label
    ("ham,come home\nspam,win a prize\n", ["come home", "win a prize"]),
    ("label,text\nham,come home\nspam,win a prize\n", ["come home", "win a prize"]),
])  # fmt: skip
def test_a_new_file_need_not_have_the_columns_of_a_train_without_names(
    text: str, texts: list[str], tmp_path: Path
) -> None:
    train = tmp_path / "train.tsv"
    train.write_text("".join(f"{'ham' if number % 2 else 'spam'}\ttext number {number}\n" for number in range(20)))
    data = load(Data(train=train), CLASSIFY)
    assert data.columns == {"text": "2", "label": "1"}
    new = tmp_path / "new.csv"
    new.write_text(text)
    for said in ({}, data.columns):  # as a recipe of danlu init says them
        found = load_inputs(new, Data(train=train, columns=said), CLASSIFY, columns=data.columns)
        assert [each.texts[0] for each in found.splits["test"]] == texts


def test_settings_that_contradict_each_other(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must leave something to train on"):
        Data(train=tmp_path, dev_share=0.5, test_share=0.5)
    with pytest.raises(ValueError, match="split_column is for one file"):
        Data(train=tmp_path, dev=tmp_path, split_column="split")


def test_pairs_and_numbers(tmp_path: Path) -> None:
    rows = [(f"a{n}", f"b{n}", n / 4) for n in range(20)]
    path = write(tmp_path / "a.csv", rows, ("sentence1", "sentence2", "score"))
    data = load(Data(train=path), SIMILARITY)
    assert data.labels == ()
    numbers = sorted(each.number for part in data.splits.values() for each in part if each.number is not None)
    assert numbers == [n / 4 for n in range(20)]
    write(path, [(a, b, "yes" if n > 2 else "no") for a, b, n in rows], ("sentence1", "sentence2", "label"))
    assert load(Data(train=path), PAIR).labels == ("no", "yes")


def test_a_file_to_be_predicted_needs_no_column_that_training_could_do_without(tmp_path: Path) -> None:
    path = tmp_path / "asked.jsonl"
    path.write_text('{"question": "who?", "context": "Ann met Bob.", "nr": 1}\n')
    columns = {"question": "question", "context": "context", "answers": "answers", "id": "id"}
    settings = Data(train=Path("train.json"), columns=dict(columns))  # as danlu init names them all
    asked = load_inputs(path, settings, EXTRACT, columns=columns)
    assert [each.texts for each in asked.splits["test"]] == [("who?", "Ann met Bob.")]
    said = settings.model_copy(update={"columns": {"id": "number"}})  # but what is said here has to be there
    with pytest.raises(ColumnError, match=r"columns\.id: .*asked\.jsonl has no column 'number'"):
        load_inputs(path, said, EXTRACT, columns=columns)


def test_a_test_file_needs_no_column_that_training_could_do_without(tmp_path: Path) -> None:
    row = {"question": "who?", "context": "Ann met Bob.", "answers": "Ann"}
    (tmp_path / "train.jsonl").write_text("".join(json.dumps({**row, "nr": f"{n}"}) + "\n" for n in range(4)))
    (tmp_path / "test.jsonl").write_text(json.dumps(row) + "\n")
    columns: dict[str, str | int] = {"id": "nr", "answers": "answers"}
    train, test = tmp_path / "train.jsonl", tmp_path / "test.jsonl"
    data = load(Data(train=train, dev=train, test=test, columns=columns), EXTRACT)
    assert [each.id for each in data.splits["train"]] == ["0", "1", "2", "3"] and len(data.splits["test"]) == 1
    with pytest.raises(ColumnError, match=r"columns\.id: .*test\.jsonl has no column 'nr'"):
        load(Data(train=test, dev=test, columns=columns), EXTRACT)


def choices(path: Path, answers: list[int]) -> Path:
    rows = [
        {"question": f"q{n} of {path.stem}", "choices": list("abcd"), "answer": each} for n, each in enumerate(answers)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_a_test_file_counts_choices_from_where_train_does(tmp_path: Path) -> None:
    """A small one may have no answer that would tell: of 1, 2 and 3 all are numbers from 0, too."""
    train, test = choices(tmp_path / "a.jsonl", [1, 2, 3, 4] * 3), choices(tmp_path / "b.jsonl", [1, 2, 3])
    data = load(Data(train=train, test=test), CHOICE)
    assert [each.gold for each in data.splits["test"]] == ["0", "1", "2"]
    assert data.said[1].endswith("; choices counted from 1")
    from_zero = load(Data(train=choices(tmp_path / "c.jsonl", [0, 1, 2, 3] * 3), test=test), CHOICE)
    assert [each.gold for each in from_zero.splits["test"]] == ["1", "2", "3"]
    assert from_zero.said[1].endswith("; choices counted from 0, though no answer is 0")
    with pytest.raises(InputError, match=r"b\.jsonl, line 1: the answer must be a choice from 1 to 4; got 0"):
        load(Data(train=train, test=choices(tmp_path / "b.jsonl", [0, 2])), CHOICE)


def test_columns_that_are_not_read_are_told(tmp_path: Path) -> None:
    rows = [(n, f"text {n}", f"title {n}", "ab"[n % 2]) for n in range(20)]
    path = write(tmp_path / "a.csv", rows, ("id", "text", "title", "label"))
    assert "; not read: id, title" in load(Data(train=path), CLASSIFY).said[0]
    parts = write(tmp_path / "b.csv", [(*row, "train" if row[0] % 4 else "dev") for row in rows],
                  ("id", "text", "title", "label", "part"))  # fmt: skip
    assert load(Data(train=parts, split_column="part"), CLASSIFY).said[0].endswith("; not read: id, title")
    quiz = write(tmp_path / "c.csv", [(f"q{n}", "x", "y", "AB"[n % 2], n) for n in range(20)],
                 ("question", "A", "B", "answer", "nr"))  # fmt: skip
    assert "; not read: nr" in load(Data(train=quiz), CHOICE).said[0]


def test_a_column_that_says_the_split_is_told_where_nothing_uses_it(tmp_path: Path) -> None:
    rows = [(f"text {n}", "ab"[n % 2], ("train", "train", "Dev", "test")[n % 4]) for n in range(20)]
    path = write(tmp_path / "a.csv", rows, ("text", "label", "Set"))
    said = load(Data(train=path), CLASSIFY).said[0]
    assert said.endswith("; column 'Set' says which split a row is of, but is not used (split_column: Set)")
    beside = load(Data(train=path, dev=path), CLASSIFY).said
    assert beside[0].endswith("(split_column: Set in place of dev and test)")
    whole = write(tmp_path / "b.csv", [row[:2] for row in rows], ("text", "label"))
    assert "not used" not in "".join(load(Data(train=whole, dev=path), CLASSIFY).said)
    used = load(Data(train=path, split_column="Set"), CLASSIFY)
    assert "not used" not in "".join(used.said) and [len(each) for each in used.splits.values()] == [10, 5, 5]
    only = write(tmp_path / "b.csv", [(*row[:2], "test") for row in rows], ("text", "label", "Set"))
    assert "not used" not in load(Data(train=only), CLASSIFY).said[0]


def test_one_column_cannot_be_two_things(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", TRAIN)
    with pytest.raises(RecipeError, match=r"^columns\.text and columns\.label are both the column 'label'$"):
        load(Data(train=path, columns={"text": "label", "label": 2}), CLASSIFY)


def test_json_is_read_by_its_names_where_training_had_none(tmp_path: Path) -> None:
    (tmp_path / "train.conll").write_text("".join(f"w{n} B-X\nis O\n\n" for n in range(20)))
    (tmp_path / "new.jsonl").write_text('{"id": 7, "text": "Ann is"}\n')
    inputs = load_inputs(
        tmp_path / "new.jsonl",
        Data(train=tmp_path / "train.conll", columns={"tokens": "1", "tags": "2"}),
        FORMS["tag"],
        columns={"tokens": "1", "tags": "2"},
    )
    assert inputs.splits["test"][0].texts == ("Ann is",)

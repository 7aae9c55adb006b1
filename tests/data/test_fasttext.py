"""Texts with labels before or behind them, as fastText reads them, and what is none of these."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from danlu import cli
from danlu.data.dataset import Data, load, load_inputs
from danlu.data.labelled import CLASSIFY, MULTI_LABEL
from danlu.data.read import read_rows
from danlu.errors import InputError
from danlu.recipe import load_recipe

FILMS = [("good", "A fine film"), ("bad", "Dull , and long"), ("good", "I laughed a lot"), ("bad", "Never again")]


def written(path: Path, lines: list[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "shape", ["__label__{} {}", "__label__{}\t{}", "__label__{} , {}", "  __label__{}   {}  ", "{1}\t__label__{0}"]
)
@pytest.mark.parametrize("name", ["a.txt", "a.tsv", "a.csv"])
def test_one_label_a_text(shape: str, name: str, tmp_path: Path) -> None:
    file = written(tmp_path / name, [shape.format(*each) for each in FILMS])
    table = read_rows(file)
    assert [(row.cells["label"], row.cells["text"]) for row in table.rows] == FILMS
    assert table.notes == ("labels behind __label__",)
    dataset = load(Data(train=file, dev_share=0.5), CLASSIFY)
    assert sorted(dataset.labels) == ["bad", "good"]


def test_columns_stand_as_in_the_file(tmp_path: Path) -> None:
    before = written(tmp_path / "a.txt", ["__label__a\tone", "__label__b\ttwo"])
    assert read_rows(before).columns == ("label", "text")
    behind = written(tmp_path / "b.txt", ["one\t__label__a", "two\t__label__b"])
    assert read_rows(behind).columns == ("text", "label")


def test_several_labels(tmp_path: Path) -> None:
    file = written(
        tmp_path / "a.txt", ["__label__体育 __label__足球 国足 赢 了", "__label__财经 股市 大涨", "没有 标签"]
    )
    dataset = load(Data(train=file, dev=written(tmp_path / "b.txt", ["__label__足球 又 输 了"])), MULTI_LABEL)
    assert [(each.texts[0], each.gold) for each in dataset.splits["train"]] == [
        ("国足 赢 了", ("体育", "足球")), ("股市 大涨", ("财经",)), ("没有 标签", ())
    ]  # fmt: skip
    assert dataset.splits["dev"][0].gold == ("足球",)


def test_a_line_without_a_label_and_one_with_two_are_told(tmp_path: Path) -> None:
    train = written(tmp_path / "a.txt", ["__label__a one", "two", "__label__b three"])
    with pytest.raises(InputError, match=r"a\.txt, line 2.*label"):
        load(Data(train=train), CLASSIFY)
    train = written(tmp_path / "b.txt", ["__label__a one", "__label__b two"])
    dev = written(tmp_path / "c.txt", ["__label__a __label__b three"])
    with pytest.raises(InputError, match=r"c\.txt, line 1.*label"):
        load(Data(train=train, dev=dev), CLASSIFY)


def test_texts_alone_are_answered(tmp_path: Path) -> None:
    settings = Data(train=written(tmp_path / "a.txt", [f"__label__{a} {b}" for a, b in FILMS]), dev_share=0.5)
    train = load(settings, CLASSIFY)
    new = written(tmp_path / "b.txt", ["What a film", "A long one"])
    found = load_inputs(new, settings, CLASSIFY, columns=train.columns, labels=train.labels)
    assert [each.texts[0] for each in found.splits["test"]] == ["What a film", "A long one"]


def test_a_table_that_the_recipe_describes_stays_one(tmp_path: Path) -> None:
    file = written(tmp_path / "a.tsv", ["__label__a\tone", "__label__b\ttwo"])
    dataset = load(Data(train=file, header=False, columns={"text": 2, "label": 1}, dev_share=0.5), CLASSIFY)
    assert set(dataset.labels) == {"__label__a", "__label__b"}
    below = written(tmp_path / "b.csv", ["text,label", "one,__label__a", "two,__label__b"])
    assert read_rows(below).columns == ("text", "label")


@pytest.mark.parametrize(("name", "lines"), [
    ("a.txt", ["__label__good,A fine film", "__label__bad,Dull , and long"]),
    ("a.tsv", ["__label__good, A fine film", "__label__bad ,Dull , and long"]),
    ("a.csv", ['"__label__good A fine film"', '"__label__bad Dull , and long"']),  # pandas' quotes around a comma
    ("a.csv", ["__label__good A fine film", '"__label__bad Dull , and long"']),
    ("a.train", ["__label__good A fine film", "Dull , __label__bad and long"]),
    ("a.valid", ["__label__good\u3000A fine film\r", "", " \r", "__label__bad Dull , and long"]),
])  # fmt: skip
def test_commas_quotes_and_labels_within(name: str, lines: list[str], tmp_path: Path) -> None:
    table = read_rows(written(tmp_path / name, lines))
    assert [(row.cells["label"], row.cells["text"]) for row in table.rows] == FILMS[:2]
    assert table.rows[1].place.number == len(lines)


def test_commas_part_several_labels_too(tmp_path: Path) -> None:
    table = read_rows(written(tmp_path / "a.txt", ["__label__a,__label__b , one, two", "__label__b , three"]))
    assert [(row.cells["labels"], row.cells["text"]) for row in table.rows] == [
        (["a", "b"], "one, two"),
        (["b"], "three"),
    ]


def test_a_table_whose_labels_have_the_mark_stays_one(tmp_path: Path) -> None:
    cells = ['"one, two"', "three", "four", "five", "six"]
    table = read_rows(written(tmp_path / "a.csv", [f"__label__{'ab'[n % 2]},{cell}" for n, cell in enumerate(cells)]))
    assert [row.cells["1"] for row in table.rows] == [f"__label__{label}" for label in "ababa"]
    assert table.rows[0].cells["2"] == "one, two"
    table = read_rows(written(tmp_path / "a.tsv", ["was\tart", "one two\t__label__a", "three\t__label__b"]))
    assert table.notes == ("no header",) and [row.cells["2"] for row in table.rows][1:] == ["__label__a", "__label__b"]


def test_the_first_line_may_lack_a_label(tmp_path: Path) -> None:
    table = read_rows(written(tmp_path / "a.txt", ["Well, none", "__label__a one", "__label__b two"]))
    assert [row.cells["label"] for row in table.rows] == [None, "a", "b"]
    table = read_rows(written(tmp_path / "b.txt", ["A text on fastText", "__label__a is a label", "that is all"]))
    assert table.columns == ("1",)  # most have none


def test_a_mark_without_a_label_is_told(tmp_path: Path) -> None:
    file = written(tmp_path / "a.txt", ["__label__a one", "__label__ two", "__label__b three"])
    with pytest.raises(InputError, match=r"a\.txt, line 2: the label is empty"):
        load(Data(train=file), CLASSIFY)


COOKING = [
    " ".join([*(f"__label__{food}-{n * 7 % 40}" for food in ("sauce", "bread", "tea")[: 1 + n % 3]), f"How to {n} it?"])
    for n in range(60)
]


@pytest.mark.parametrize(("lines", "task"), [
    ([f"__label__{'ab'[n % 2]} a text {n}" for n in range(9)], "classify"),
    ([f"__label__a {'__label__b' * (n % 2)} a text {n}" for n in range(9)], "multi_label"),
    (COOKING, "multi_label"),  # hardly a label comes twice in the first rows, as with keywords
    ([f"__label__{n % 14} a text {n}" for n in range(60)], "classify"),  # DBpedia's classes
    ([f"__label__{('a|b', 'a', 'b')[n % 3]} a text {n}" for n in range(60)], "classify"),
])  # fmt: skip
def test_init_knows_them(lines: list[str], task: str, tmp_path: Path) -> None:
    file = written(tmp_path / "train.txt", lines)
    (tmp_path / "m").mkdir()
    assert cli.main(["init", str(file), "--model", str(tmp_path / "m"), "--out", str(tmp_path / "r.yaml")]) == 0
    section: Any = load_recipe(tmp_path / "r.yaml").section("finetune")
    assert section.task.to_recipe()["use"] == task

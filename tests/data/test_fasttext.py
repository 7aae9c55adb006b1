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
    file = written(tmp_path / "a.txt", ["__label__体育 __label__足球 国足 赢 了", "__label__财经 股市 大涨", "没有 标签"])
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
    train = load(Data(train=written(tmp_path / "a.txt", [f"__label__{a} {b}" for a, b in FILMS])), CLASSIFY)
    new = written(tmp_path / "b.txt", ["What a film", "A long one"])
    found = load_inputs(new, Data(train=tmp_path / "a.txt"), CLASSIFY, columns=train.columns, labels=train.labels)
    assert [each.texts[0] for each in found.splits["test"]] == ["What a film", "A long one"]


def test_a_table_that_the_recipe_describes_stays_one(tmp_path: Path) -> None:
    file = written(tmp_path / "a.tsv", ["__label__a\tone", "__label__b\ttwo"])
    dataset = load(Data(train=file, header=False, columns={"text": 2, "label": 1}, dev_share=0.5), CLASSIFY)
    assert set(dataset.labels) == {"__label__a", "__label__b"}
    below = written(tmp_path / "b.csv", ["text,label", "one,__label__a", "two,__label__b"])
    assert read_rows(below).columns == ("text", "label")


@pytest.mark.parametrize(("lines", "task"), [
    ([f"__label__{'ab'[n % 2]} a text {n}" for n in range(9)], "classify"),
    ([f"__label__a {'__label__b' * (n % 2)} a text {n}" for n in range(9)], "multi_label"),
])  # fmt: skip
def test_init_knows_them(lines: list[str], task: str, tmp_path: Path) -> None:
    file = written(tmp_path / "train.txt", lines)
    (tmp_path / "m").mkdir()
    assert cli.main(["init", str(file), "--model", str(tmp_path / "m"), "--out", str(tmp_path / "r.yaml")]) == 0
    section: Any = load_recipe(tmp_path / "r.yaml").section("finetune")
    assert section.task.to_recipe()["use"] == task

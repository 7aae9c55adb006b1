"""A column for each label, as Kaggle's tables of toxic comments have it."""

from __future__ import annotations

from pathlib import Path

import pytest

from danlu import cli
from danlu.data.dataset import Data, load, load_inputs
from danlu.data.flags import flag_columns
from danlu.data.forms import FORMS
from danlu.data.read import read_rows
from danlu.recipe import load_recipe

HEADER = "id,comment_text,toxic,obscene,threat"
ROWS = [(f"x{n}", f"a comment {n}", n % 2, int(n % 3 == 0), int(n == 5)) for n in range(30)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "a.csv").write_text("\n".join([HEADER, *(",".join(map(str, row)) for row in ROWS)]))
    return tmp_path / "a.csv"


def test_a_column_a_label_is_a_list_of_labels(file: Path, tmp_path: Path) -> None:
    data = load(Data(train=file, dev=file), FORMS["multi_label"])
    expected = [tuple(name for name, has in zip(HEADER.split(",")[2:], row[2:], strict=True) if has) for row in ROWS]
    assert [each.gold for each in data.splits["train"]] == expected
    assert data.labels == ("obscene", "threat", "toxic")
    assert "labels are the columns toxic, obscene, threat, where they are 1" in data.said[0]
    (tmp_path / "new.csv").write_text("id,comment_text\ny,what\n")
    inputs = load_inputs(tmp_path / "new.csv", Data(train=file), FORMS["multi_label"], columns=data.columns)
    assert [(each.texts, each.gold) for each in inputs.splits["test"]] == [(("what",), None)]


@pytest.mark.parametrize("values", ["1.0,0.0", "True,False", "true,0"])
def test_what_says_yes_and_no(values: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"text,one,other\nwords,{values}\nmore,0,1\n")
    assert flag_columns(read_rows(tmp_path / "a.csv")) == ["one", "other"]


@pytest.mark.parametrize("text", ["text,label,other\na,0,1\nb,1,0\n", "text,one,other\na,0,2\nb,,0\n", "a\t0\nb\t1\n"])
def test_what_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text)
    assert flag_columns(read_rows(tmp_path / "a.csv")) == []


def test_init_knows_it(file: Path, tmp_path: Path) -> None:
    assert cli.main(["init", str(file), "--out", str(tmp_path / "r.yaml")]) == 0
    section = load_recipe(tmp_path / "r.yaml").section("finetune")
    assert section.task.to_recipe()["use"] == "multi_label"  # type: ignore[attr-defined]
    data = load(section.data, FORMS["multi_label"])  # type: ignore[attr-defined]
    assert data.labels == ("obscene", "threat", "toxic") and data.columns["text"] == "comment_text"

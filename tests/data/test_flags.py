"""A column for each label, as Kaggle's tables of toxic comments have it."""

from __future__ import annotations

from pathlib import Path

import pytest

from danlu import cli
from danlu.data.dataset import Data, load, load_inputs
from danlu.data.flags import flag_columns
from danlu.data.forms import FORMS
from danlu.data.read import read_rows
from danlu.errors import InputError
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


def test_where_the_recipe_names_a_column_flags_are_none(tmp_path: Path) -> None:
    rows = "".join(f"words {n},a|b,{n % 2},1\n" for n in range(4))
    (tmp_path / "a.csv").write_text(f"text,kinds,seen,read\n{rows}")
    settings = Data(train=tmp_path / "a.csv", dev=tmp_path / "a.csv", columns={"labels": "kinds"})
    data = load(settings, FORMS["multi_label"])
    assert data.labels == ("a", "b") and "labels are" not in data.said[0]
    for columns in (settings.columns, {"text": "text"}):  # predict may be told where the text is
        given = settings.model_copy(update={"columns": columns})
        inputs = load_inputs(tmp_path / "a.csv", given, FORMS["multi_label"], columns=data.columns)
        assert inputs.splits["test"][0].gold == ("a", "b") and "labels are" not in inputs.said[0]


def test_other_files_have_the_labels_of_train(file: Path, tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("comment_text,obscene,seen,toxic,threat\nwhat,0,1,1,0\nso,0,1,0,0\n")
    data = load(Data(train=file, dev=tmp_path / "b.csv"), FORMS["multi_label"])
    assert [each.gold for each in data.splits["dev"]] == [("toxic",), ()]
    inputs = load_inputs(
        tmp_path / "b.csv", Data(train=file), FORMS["multi_label"], columns=data.columns, labels=data.labels
    )
    assert [each.gold for each in inputs.splits["test"]] == [("toxic",), ()]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("comment_text,obscene,threat\na,0,1\nb,1,0\n", r"b\.csv has no column 'toxic', a label of"),
        ("comment_text,obscene,toxic,threat\na,0,1,0\nb,1,-1,0\n", "line 3: column 'toxic' must be 0 or 1; got '-1'"),
    ],
)
def test_what_other_files_lack_is_told(text: str, said: str, file: Path, tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text(text)
    with pytest.raises(InputError, match=said):
        load(Data(train=file, dev=tmp_path / "b.csv"), FORMS["multi_label"])
    data = load(Data(train=file), FORMS["multi_label"])
    inputs = load_inputs(
        tmp_path / "b.csv", Data(train=file), FORMS["multi_label"], columns=data.columns, labels=data.labels
    )  # which need not have what is right
    assert all(each.gold is None for each in inputs.splits["test"])


def test_train_without_flags_has_other_files_without(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,labels\nwords,a|b\nmore,b\n")
    (tmp_path / "b.csv").write_text("text,seen,read\nwords,0,1\nmore,1,1\n")
    with pytest.raises(InputError, match=r"b\.csv: cannot tell which column holds the labels"):
        load(Data(train=tmp_path / "a.csv", dev=tmp_path / "b.csv"), FORMS["multi_label"])


@pytest.mark.parametrize("values", ["1.0,0.0", "True,False", "true,0"])
def test_what_says_yes_and_no(values: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"text,one,other\nwords,{values}\nmore,0,1\n")
    assert flag_columns(read_rows(tmp_path / "a.csv")) == ["one", "other"]


@pytest.mark.parametrize("text", ["text,label,other\na,0,1\nb,1,0\n", "text,one,other\na,0,2\nb,,0\n", "a\t0\nb\t1\n"])
def test_what_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text)
    assert flag_columns(read_rows(tmp_path / "a.csv")) == []


@pytest.mark.parametrize("cell", ["2", "", "yes"])
def test_a_cell_that_is_neither_leaves_no_label_out(cell: str, file: Path, tmp_path: Path) -> None:
    lines = file.read_text().splitlines()
    lines[7] = lines[7][:-1] + cell
    (tmp_path / "b.csv").write_text("\n".join(lines))
    with pytest.raises(
        InputError, match=rf"b\.csv, line 8: column 'threat' must be 0 or 1, as in 29 other .* {cell!r}"
    ):
        load(Data(train=tmp_path / "b.csv"), FORMS["multi_label"])
    assert cli.main(["init", str(tmp_path / "b.csv"), "--out", str(tmp_path / "r.yaml")]) == 0
    assert load_recipe(tmp_path / "r.yaml").section("finetune").task.to_recipe()["use"] == "multi_label"  # type: ignore[attr-defined]


def test_init_knows_it(file: Path, tmp_path: Path) -> None:
    assert cli.main(["init", str(file), "--out", str(tmp_path / "r.yaml")]) == 0
    section = load_recipe(tmp_path / "r.yaml").section("finetune")
    assert section.task.to_recipe()["use"] == "multi_label"  # type: ignore[attr-defined]
    data = load(section.data, FORMS["multi_label"])  # type: ignore[attr-defined]
    assert data.labels == ("obscene", "threat", "toxic") and data.columns["text"] == "comment_text"

"""Keys that errors of tasks begin with or hold, as the user knows them; and names of files that only look like keys."""

from __future__ import annotations

import pytest

from danlu.errors import InputError, RecipeError
from danlu.tasks.keys import keys_of, keys_said


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("finetune.task.max_tokens must be 4", "joint.tasks.a.task.max_tokens must be 4"),
        ("finetune.task: it has no", "joint.tasks.a.task: it has no"),
        ("finetune.data.train: no question", "joint.tasks.a.data.train: no question"),
        ("finetune.method bitfit trains", "joint.tasks.a.method bitfit trains"),
        ("finetune.model: this task", "joint.model: this task"),
        ("template must be one of", "joint.tasks.a.task.template must be one of"),
        ("columns.text: a.csv has no column 'x'", "joint.tasks.a.data.columns.text: a.csv has no column 'x'"),
        ("leave_out: no row of a.csv is left", "joint.tasks.a.data.leave_out: no row of a.csv is left"),
    ],
)
def test_keys_are_those_of_the_task(said: str, expected: str) -> None:
    with pytest.raises(RecipeError) as caught, keys_said(keys_of("joint", "a")):
        raise RecipeError(said)
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("a.csv, line 7: too long; finetune.task.max_tokens is 4", "a.csv, line 7: too long; {}task.max_tokens is 4"),
        ("finetune.task.a (4) and finetune.task.b (5) are", "{}task.a (4) and {}task.b (5) are"),
        ("a window (finetune.task.max_tokens) holds", "a window ({}task.max_tokens) holds"),
        ("a.csv: see finetune.task.cut", "a.csv: see {}task.cut"),
        ("a.csv: got 'finetune.task.cut'", "a.csv: got 'finetune.task.cut'"),
        ("there is no file b/finetune.task.csv", "there is no file b/finetune.task.csv"),
        ("not in my finetune.data.csv", "not in my finetune.data.csv"),
    ],
)
def test_keys_within_an_error_are_the_users_too(said: str, expected: str) -> None:
    for moved, key in ((keys_of("joint", "a"), "joint.tasks.a."), ({"finetune.": "m/danlu.json: "}, "m/danlu.json: ")):
        with pytest.raises(InputError) as caught, keys_said(moved):
            raise InputError(said)
        assert str(caught.value) == expected.format(key, key)


@pytest.mark.parametrize("file", [
    "finetune.jsonl", "finetune.data.csv", "finetune.data/a.csv", "finetune.model.b/a.csv", "columns.csv",
    "columns/a.txt", "template.json", "template-2.tsv", "split_column.csv.gz", "model.conll", "finetune.task.bmes.zst",
])  # fmt: skip
@pytest.mark.parametrize("said", [", line 3: it is not JSON", ": no example is left", " is empty"])
def test_names_of_files_stay(file: str, said: str) -> None:
    for moved in (keys_of("joint", "a"), {"finetune.": "model/danlu.json: "}):
        with pytest.raises(InputError) as caught, keys_said(moved):
            raise InputError(f"{file}{said}")
        assert str(caught.value) == f"{file}{said}"

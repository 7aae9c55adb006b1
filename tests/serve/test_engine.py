"""What is served is what ``danlu predict`` writes; and requests that wait are answered together, each its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from served_rows import ROWS

from danlu import cli
from danlu.errors import InputError
from danlu.serve.engine import Engine, Together

GOLD = {"stars", "label", "number", "tags", "answer"}


@pytest.fixture(scope="module")
def engine(folders: dict[str, Path]) -> Engine:
    return Engine(folders["classify"], dtype="float32")


@pytest.mark.parametrize("task", ROWS)
def test_served_is_predicted(task: str, folders: dict[str, Path], tmp_path: Path) -> None:
    asked = [{name: value for name, value in row.items() if name not in GOLD} for row in ROWS[task][:5]]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    given = ["--out", str(tmp_path / "b.jsonl"), "--dtype", "float32"]
    assert cli.main(["predict", str(folders[task]), str(tmp_path / "a.jsonl"), *given]) == 0
    lines = [json.loads(line) for line in (tmp_path / "b.jsonl").read_text().splitlines()]
    answers = Engine(folders[task], dtype="float32").answer(asked)
    assert len(answers) == len(lines) == 5
    for answer, line in zip(answers, lines, strict=True):
        assert answer.keys() == line.keys() - ({"file", "line"} if "entities" in line else {"file", "line", "texts"})
        assert answer["prediction"] == pytest.approx(line["prediction"], abs=1e-5)
        assert answer.get("confidence") == pytest.approx(line.get("confidence"), abs=1e-5)
        assert answer.get("entities") == line.get("entities")


def test_rows_are_objects_by_column_or_usual_name_or_texts(engine: Engine) -> None:
    by_column, by_name, alone = (engine.answer([row]) for row in ({"review": "to be"}, {"text": "to be"}, "to be"))
    assert by_column == by_name == alone
    assert set(by_column[0]) == {"prediction", "confidence", "scores"}


def test_columns_that_have_no_names_are_keys_by_their_field(whole_encoder: Path, tmp_path: Path) -> None:
    """The file had the second text before the first; in an object the order of keys says nothing."""
    rows = "".join(f"or not to be\tto be {number}\t{'ab'[number % 2]}\n" for number in range(24))
    (tmp_path / "train.tsv").write_text(rows)
    (tmp_path / "r.yaml").write_text(json.dumps({"run_dir": str(tmp_path / "run"), "finetune": {
        "model": str(whole_encoder), "task": "pair", "budget": {"steps": 1}, "compile": "off",
        "data": {"train": str(tmp_path / "train.tsv"), "columns": {"second": 1, "first": 2, "label": 3}},
    }}))  # fmt: skip
    assert cli.main(["finetune", str(tmp_path / "r.yaml")]) == 0
    engine = Engine(tmp_path / "run/finetune/model", dtype="float32")
    one, other = {"first": "to be 1", "second": "or not"}, {"second": "or not", "first": "to be 1"}
    assert engine.answer([one]) == engine.answer([other])
    assert engine.answer([one]) != engine.answer([{"first": "or not", "second": "to be 1"}])
    assert [each["name"] for each in engine.said()["fields"]] == ["first", "second"]


@pytest.mark.parametrize(("rows", "reason"), [
    ([], "the request has no row"),
    ([{"review": "to be"}, {"review": "  "}], "request, row 2: the text (column 'review') is empty"),
    ([{"review": 5}], "request, row 1: the text (column 'review') must be text; got 5"),
    (["to be", 7], "request, row 2: it must be an object with 'review'; got 7"),
    ([{}], "request, row 1: it must be an object with 'review'; got {}"),
    ([[["to be"]]], "request, row 1: it must be an object with 'review'; got [['to be']]"),
])  # fmt: skip
def test_what_is_no_row_is_refused_by_its_number(engine: Engine, rows: list[Any], reason: str) -> None:
    with pytest.raises(InputError) as error:
        engine.answer(rows)
    assert str(error.value).startswith(reason)


def test_a_row_without_its_keys_says_which(folders: dict[str, Path]) -> None:
    engine = Engine(folders["pair"], dtype="float32")
    with pytest.raises(InputError, match=r"^a row needs 'first' and 'second'; got 'first'$"):
        engine.answer([{"first": "to be"}])


def test_a_folder_for_no_task_is_refused(whole_decoder: Path) -> None:
    with pytest.raises(InputError, match="was trained for no task"):
        Engine(whole_decoder)


def test_what_waits_is_answered_together_each_its_own() -> None:
    groups: list[Sequence[int]] = []
    held, begun = threading.Event(), threading.Event()

    def answer(questions: Sequence[int]) -> list[int]:
        groups.append(list(questions))
        begun.set()
        held.wait(10)
        return [each * 10 for each in questions]

    together = Together(answer, most=6)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(together.ask, [0])
        assert begun.wait(10)
        waiting = []
        for part in ([1, 2], [3], [4, 5, 6], [7]):  # one after the other, so that their order is known
            before = together.waiting
            waiting.append(pool.submit(together.ask, part))
            while together.waiting == before:
                pass
        held.set()
        assert [first.result(10), *(each.result(10) for each in waiting)] == [
            [0], [10, 20], [30], [40, 50, 60], [70]
        ]  # fmt: skip
    assert groups == [[0], [1, 2, 3, 4, 5, 6], [7]]


def test_one_request_that_fails_fails_alone() -> None:
    held, begun = threading.Event(), threading.Event()

    def answer(questions: Sequence[int]) -> list[int]:
        begun.set()
        held.wait(10)
        return [100 // each for each in questions]

    together = Together(answer, most=6)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(together.ask, [1])
        assert begun.wait(10)
        bad, good = pool.submit(together.ask, [0]), pool.submit(together.ask, [5, 4])
        while together.waiting < 2:
            pass
        held.set()
        assert first.result(10) == [100]
        assert good.result(10) == [20, 25]
        with pytest.raises(ZeroDivisionError):
            bad.result(10)

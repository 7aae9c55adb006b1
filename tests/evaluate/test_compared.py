"""Which examples are the same, and what is read of runs and of other tools' predictions."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.errors import InputError
from danlu.evaluate.browser import worst_examples
from danlu.evaluate.compared import aligned, read_runs
from danlu.evaluate.contents import Section
from danlu.evaluate.page import render
from danlu.evaluate.predictions import Prediction, in_words, read_predictions, worst_first


def made(count: int = 5, **more: Any) -> list[Prediction]:
    return [Prediction(f"t.csv, line {n}", (f"text {n}",), "ab"[n % 2], "a", **more) for n in range(count)]


def write(path: Path, lines: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@given(st.randoms(use_true_random=False), st.lists(st.sampled_from("xyz"), min_size=1, max_size=9))
def test_the_same_examples_in_another_order_are_found(shuffler: random.Random, texts: list[str]) -> None:
    """Whatever the order, and where texts are there twice."""
    first = [Prediction("", (text,), text, "one") for text in texts]
    other = [Prediction("", (text,), text, f"{text}{place}") for place, text in enumerate(texts)]
    shuffler.shuffle(other)
    found = aligned(first, other)
    assert not isinstance(found, str)
    assert [each.said[0] for each in found] == texts
    assert sorted(each.said for each in found) == sorted(each.said for each in other), "each is taken once"


@pytest.mark.parametrize("changed", ["place", "texts", "gold"])
def test_what_makes_examples_others(changed: str) -> None:
    other = made()
    new: dict[str, dict[str, Any]] = {
        "place": {"place": "t.csv, line 9"}, "texts": {"texts": ("text 9",)}, "gold": {"gold": "c"},
    }  # fmt: skip
    other[2] = replace(other[2], **new[changed])
    assert aligned(made(), other) == "only 4 of its 5 examples are among the 5"
    assert aligned(made(), made(4)) == "only 4 of its 4 examples are among the 5"
    assert aligned(made(), [replace(each, texts=("new",)) for each in made()]) == "none of its 5 examples is the same"


def test_where_places_or_golds_are_not_said_they_do_not_count() -> None:
    without = [replace(each, place="", gold=None, said="b") for each in made()]
    found = aligned(made(), without)
    assert not isinstance(found, str)
    assert [(each.gold, each.said) for each in found] == [(each.gold, "b") for each in made()], "gold is the first's"
    assert aligned(made(), [replace(each, texts=()) for each in made()]) == "it has no texts to know its examples by"


def test_the_worst_are_the_most_confident_and_wrong_or_have_the_worst_figure() -> None:
    sure = [Prediction("", (str(n),), "a", said, confidence)
            for n, (said, confidence) in enumerate([("a", 0.99), ("b", 0.6), ("b", 0.9), ("a", 0.4)])]  # fmt: skip
    assert [each.texts[0] for each in worst_first(sure)] == ["2", "1"]
    written = [Prediction("", (str(n),), ["x"], "y", None, {"bleu": value}) for n, value in enumerate([30.0, 2.0, 55])]
    assert [each.texts[0] for each in worst_first(written)] == ["1", "0", "2"]
    numbers = [Prediction("", (str(n),), 1.0, 1 + value, None, {"mean_absolute_error": value})
               for n, value in enumerate([0.5, 0.1, 3.0])]  # fmt: skip
    assert [each.texts[0] for each in worst_first(numbers)] == ["2", "0", "1"]


def test_the_worst_are_the_worst_by_the_last_digit_and_whatever_the_size() -> None:
    """A figure counts before any confidence, however little it differs; an infinite one leaves the page in order."""
    figures = [0.0, 1e-4, 2e-4, 1e300, float("inf")]
    close = [Prediction("", (f"{n}",), 1.0, 2.0, 1 - n / 10, {"mean_absolute_error": value})
             for n, value in enumerate(figures)]  # fmt: skip
    browser = worst_examples({"dev": close})
    assert browser is not None
    assert [each.texts[0] for each in browser.examples] == ["4", "3", "2", "1", "0"]
    assert [each.orders[0] for each in browser.examples] == [0, 1, 2, 3, 4]
    page = render("report.html.j2", {
        "kind": "", "title": "", "date": "", "summary": "", "headline": [], "pictures": {}, "recipe": "",
        "sections": [Section("Worst", browser=browser)],
    }, html=True)  # fmt: skip
    orders = re.findall(r'data-orders="([^"]*)"', page)
    assert len(orders) == 5
    for each in orders:
        assert len(json.loads(each, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))) == 4


@pytest.mark.parametrize(
    ("gold", "said", "figures", "right"),
    [("a", "a", {}, True), ("a", "b", {}, False), (["x", "y"], "y", {}, True), ([], "", {"f1": 1.0}, True),
     (["p", "q"], ["q", "p"], {"micro.f1": 1.0}, True), (["O", "B"], ["B", "O"], {"micro.f1": 0.0}, False),
     (["x"], "z", {"bleu": 12.0}, False), (2.0, 5.0, {"mean_absolute_error": 3.0}, False)],
)  # fmt: skip
def test_what_is_right(gold: Any, said: Any, figures: dict[str, float], right: bool) -> None:
    assert Prediction("", ("t",), gold, said, None, figures).right is right


def test_of_tags_those_that_differ_are_shown() -> None:
    words, gold, said = ["Ann", "lives", "in", "Rome"], ["B-PER", "O", "O", "B-LOC"], ["B-PER", "O", "B-LOC", "O"]
    assert in_words(gold, [said], words) == "in/O Rome/B-LOC"
    assert in_words(gold, [said, ["O", "O", "O", "B-LOC"]], words) == "Ann/B-PER in/O Rome/B-LOC", "of any of them"
    assert in_words(["B", "E", "S"], [["S", "S", "S"]], "天下大") == "天/B 下/E"
    assert in_words(["a", "b"], [["a", "c"]]) == "a · b", "labels are no tags"
    assert in_words(["x", "y"], ["x"]) == "x · y" and in_words([], [["x"]]) == "none" and in_words("") == "nothing"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"text": "a"}, "p.jsonl, line 1: has no 'prediction'; it has text"),
        ({"prediction": "a", "texts": "a"}, "'texts' must be a list of texts"),
        ({"prediction": "a", "confidence": "high"}, "'confidence' must be a finite number; got 'high'"),
        ({"prediction": "a", "confidence": float("nan")}, "'confidence' must be a finite number; got nan"),
        ({"prediction": "a", "confidence": True}, "'confidence' must be a finite number; got True"),
        ({"prediction": "a", "figures": {"f1": float("nan")}}, "'figures' must be numbers by name"),
        ({"prediction": "a", "text": "\ud83d"}, "p.jsonl, line 1: half a surrogate pair is no character"),
        ({"prediction": ["\ud83d"], "text": "a"}, "p.jsonl, line 1: half a surrogate pair is no character"),
        ({"prediction": "a", "figures": [1]}, "'figures' must be numbers by name"),
    ],
)
def test_a_malformed_line_is_told(line: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_predictions(write(tmp_path / "p.jsonl", [line]))


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ({"file": "a.csv", "line": 3}, "a.csv, line 3"),
        ({"file": "a.json", "question": 4, "texts": ["who?"]}, "a.json, question 4"),
        ({"file": "a.json", "data item": 5}, "a.json, data item 5"),
        ({"file": "a.json", "question": "who?"}, ""),
    ],
)
def test_where_an_example_stands(line: dict[str, Any], place: str, tmp_path: Path) -> None:
    (read,) = read_predictions(write(tmp_path / "p.jsonl", [line | {"prediction": "a"}]))
    assert read.place == place


def test_what_is_no_run_is_told(tmp_path: Path) -> None:
    good = write(tmp_path / "p.jsonl", [{"texts": ["a"], "prediction": "a"}])
    half = tmp_path / "half"
    (half / "finetune").mkdir(parents=True)
    (half / "finetune/begun.json").write_text("{}")
    for paths, message in (
        ([good], "at least two runs"),
        ([good, good], "one of what is compared must be a run"),
        ([half, good], "half is no run to compare: its finetune has not finished"),
        ([tmp_path, good], "it has neither pretrain/done.json nor finetune/done.json"),
        ([tmp_path / "nowhere", good], "there is no run and no file .*nowhere"),
    ):
        with pytest.raises(InputError, match=message):
            read_runs(paths)
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(InputError, match=r"empty.jsonl has no prediction"):
        read_predictions(tmp_path / "empty.jsonl")

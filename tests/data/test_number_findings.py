"""Planted errors in numbers, and what is none: a scale, a long tail, two raters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from danlu.data.example import Place
from danlu.data.labelled import Scored
from danlu.data.number_findings import odd_numbers


def scored(numbers: list[float], texts: list[str] | None = None, file: str = "a.csv") -> list[Scored]:
    return [
        Scored(Place(Path(file), place), (texts[place - 2] if texts else f"text {place}",), number)
        for place, number in enumerate(numbers, 2)
    ]


STARS = [float(number % 5 + 1) for number in range(100)]


def test_a_lost_decimal_mark_is_told_with_its_line() -> None:
    numbers = [*STARS[:40], 45.0, *STARS[40:]]
    (far,) = odd_numbers({"train": scored(numbers), "test": scored(STARS, [f"other {n}" for n in range(100)], "b.csv")})
    assert str(far) == "train: 1 number is far from the others, half of which are from 2 to 4: 45 (a.csv, line 42)"
    assert (far.kind, far.count, far.of) == ("far", 1, 101)


def test_the_split_that_is_told_is_the_one_that_has_it() -> None:
    test = scored([*STARS[:60], 50.0], [f"other {n}" for n in range(61)], file="b.csv")
    own = {"train": scored([*STARS, 45.0]), "dev": scored(STARS), "test": test}
    said = [str(each).split(" far from")[0] for each in odd_numbers(own)]
    assert said == ["train: 1 number is", "test: 1 number is"]
    (only,) = odd_numbers({"train": own["dev"], "test": own["test"]})
    assert only.splits == ("test",) and only.of == 61


@pytest.mark.parametrize("numbers", [
    STARS,
    np.random.default_rng(0).lognormal(3, 1.5, 400).tolist(),  # prices
    np.random.default_rng(1).normal(0, 1, 5000).tolist(),
    [0.0] * 99 + [7.0],  # half of all are equal: nothing says how far is far
    [1.0, 2.0, 3.0, 400.0],
])  # fmt: skip
def test_numbers_that_only_lie_apart(numbers: list[float]) -> None:
    assert not list(odd_numbers({"train": scored(numbers)}))


def test_two_numbers_of_one_text() -> None:
    texts = [f"text {number}" for number in range(100)]
    texts[50], texts[60], texts[70] = "Text 0!", "text 1", "text 2"
    numbers = [*STARS]
    numbers[50], numbers[60], numbers[70] = 5.0, 3.0, 3.0  # of text 0, which is 1; of text 1, which is 2; of text 2
    (conflict,) = odd_numbers({"train": scored(numbers, texts)})
    assert (conflict.kind, conflict.count) == ("conflict", 1)
    assert "'Text 0!' (a.csv, line 52) is 5, but 1 in a.csv, line 2" in str(conflict)
    across = odd_numbers({"train": scored(STARS, texts[:50] * 2), "test": scored([5.0], ["text 0"], "b.csv")})
    assert [each.splits for each in across] == [("train", "test")]

"""Splits and folds: shares of every label, duplicates together, the same in any order."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.data.example import Place
from danlu.data.extracted import Answer, Question
from danlu.data.labelled import Labelled, Scored
from danlu.data.split import folds, split, subset
from danlu.errors import InputError

SHARES = {"train": 0.8, "dev": 0.1, "test": 0.1}


def example(number: int, text: str, label: str) -> Labelled:
    return Labelled(Place(Path("a"), number), (text,), label)


def many(counts: dict[str, int]) -> list[Labelled]:
    rows = [(f"{label} text {number}", label) for label, count in counts.items() for number in range(count)]
    return [example(number, *row) for number, row in enumerate(rows)]


@given(st.lists(st.integers(1, 60), min_size=2, max_size=5), st.integers(0, 3))
def test_every_label_has_its_share(counts: list[int], seed: int) -> None:
    examples = many({f"l{number}": count + 10 for number, count in enumerate(counts)})
    parts = split(examples, SHARES, seed=seed)
    assert sorted(each.place.number for part in parts.values() for each in part) == list(range(len(examples)))
    for name, share in SHARES.items():
        for label, count in Counter(each.label for each in examples).items():
            assert abs(sum(each.label == label for each in parts[name]) - share * count) <= 1.5
        assert abs(len(parts[name]) - share * len(examples)) <= len(counts) + 1


def test_shares_are_no_further_off_than_those_of_scikit_learn() -> None:
    model_selection = pytest.importorskip("sklearn.model_selection")
    examples = many({"a": 97, "b": 31, "c": 11})
    labels = np.array([each.label for each in examples])

    def off(chosen: list[str]) -> float:
        return max(abs(chosen.count(label) / len(chosen) - (labels == label).mean()) for label in "abc")

    ours = max(off([str(each.label) for each in fold.dev]) for fold in folds(examples, 5))
    theirs = max(off(labels[dev].tolist()) for _, dev in model_selection.StratifiedKFold(5).split(labels, labels))
    assert ours <= theirs + 0.02


@given(st.permutations(range(40)))
def test_the_order_of_the_file_changes_nothing(order: list[int]) -> None:
    examples = many({"a": 30, "b": 10})
    shuffled = [examples[place] for place in order]
    there, here = split(examples, SHARES), split(shuffled, SHARES)
    assert {name: set(part) for name, part in there.items()} == {name: set(part) for name, part in here.items()}
    assert [each for each in shuffled if each in here["train"]] == list(here["train"])


def test_duplicates_stay_together_whatever_their_case_and_label() -> None:
    examples = [example(3 * n + k, text, "ab"[k % 2]) for n in range(40) for k, text in enumerate(
        (f"text {n}", f"Text {n}!", f" TEXT  {n}"))]  # fmt: skip
    for parts in (split(examples, SHARES), {str(k): fold.dev for k, fold in enumerate(folds(examples, 4))}):
        where: dict[int, set[str]] = {}
        for name, part in parts.items():
            for each in part:
                where.setdefault(each.place.number // 3, set()).add(name)
        assert all(len(names) == 1 for names in where.values())


def test_questions_about_one_text_stay_together() -> None:
    examples = [
        Question(Place(Path("a"), n), str(n), f"question {n}?", f"context {n // 5}", (Answer("c", 0),))
        for n in range(100)
    ]
    parts = split(examples, SHARES)
    contexts = [{each.context for each in part} for part in parts.values()]
    assert sum(map(len, contexts)) == len(set.union(*contexts)) == 20


def test_numbers_are_spread_over_the_parts() -> None:
    numbers = random.Random(1).sample(range(1000), 200)
    examples = [Scored(Place(Path("a"), n), (f"text {n}",), float(number)) for n, number in enumerate(numbers)]
    for fold in folds(examples, 4):
        mean = sum(each.number or 0 for each in fold.dev) / len(fold.dev)
        assert abs(mean - sum(numbers) / len(numbers)) < 15  # by chance alone it would be 35
        assert len(fold.dev) == 50


def test_folds_measure_each_example_once() -> None:
    examples = many({"a": 13, "b": 9})
    found = folds(examples, 3)
    assert sorted(each.place.number for fold in found for each in fold.dev) == list(range(22))
    for fold in found:
        assert set(fold.train) | set(fold.dev) == set(examples)
        assert not set(fold.train) & set(fold.dev)


def test_larger_subsets_have_all_of_smaller_ones() -> None:
    examples = many({"a": 50, "b": 10, "c": 1})
    sizes = []
    before: set[Labelled] = set()
    for share in (0.1, 0.25, 0.5, 1.0):
        part = set(subset(examples, share))
        assert before <= part
        assert {each.label for each in part} == {"a", "b", "c"}
        before = part
        sizes.append(len(part))
    assert sizes == [7, 17, 31, 61]


def test_too_few_examples_are_refused() -> None:
    same = [example(n, "the same", "a") for n in range(9)]
    with pytest.raises(InputError, match="too few to split into train, dev, test: none is left for dev and test"):
        split(same, SHARES)
    with pytest.raises(InputError, match="folds must be at least 2; got 1"):
        folds(many({"a": 9}), 1)

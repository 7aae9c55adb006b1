"""Loops over all examples tell that they come on: of many they take minutes, at the same few lines."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from danlu.data.labelled import MultiLabelled
from danlu.metrics.classification import MultiLabel as Sets
from danlu.metrics.entities import Entities
from danlu.metrics.segmentation import Words
from danlu.metrics.tally import by_sums, slices
from danlu.metrics.token_labels import TokenLabels
from danlu.tasks.classify import Classify
from danlu.tasks.extract import Extract
from danlu.tasks.feature import Feature
from danlu.tasks.multi_label import MultiLabel
from danlu.tasks.study_curve import Curve
from danlu.tasks.study_suspects import likely_wrong
from danlu.tasks.tag import Tag
from danlu.tasks.task import Known
from danlu.tasks.word_windows import Scored
from danlu.ticks import heard

COUNT = 5
LABELS = Known(labels=("O", "B-PER"))
SHARES = [torch.tensor([0.25, 0.75])] * COUNT


def feature(number: int, words: Any) -> Feature:
    return Feature(number, np.zeros(2, np.int64), words=words)


def tagged() -> None:
    features = [feature(number, Scored(np.arange(2), np.arange(2))) for number in range(COUNT)]
    Tag().answers(
        [torch.zeros(2, 2)] * COUNT, features, [SimpleNamespace(pieces=("a", "b"), tokens="ab")] * COUNT, LABELS
    )


def extracted() -> None:
    features = [feature(number, np.array([[0, 0], [0, 4]])) for number in range(COUNT)]
    known = Known(numbers={"longest": 9})
    Extract().answers([torch.zeros(2, 2)] * COUNT, features, [SimpleNamespace(id="1", context="text")] * COUNT, known)


def suspected() -> None:
    examples = [MultiLabelled(None, ("text",), (f"{number}",)) for number in range(COUNT)]  # type: ignore[arg-type]
    likely_wrong(
        examples, [{"prediction": [], "scores": {f"{number}": 1.0}} for number in range(COUNT)], "suspects.jsonl"
    )


def concluded() -> None:
    """Of trainings, each with a metric of its own to be resampled."""
    dataset = SimpleNamespace(
        splits={"train": [None] * 9, "dev": [SimpleNamespace(gold="a"), SimpleNamespace(gold="b")]}
    )
    outcome = SimpleNamespace(
        variation=SimpleNamespace(dataset=dataset),
        measured=("dev",),
        figures=lambda: {"dev.accuracy": 0.5},
        lines=lambda split: [{"prediction": "a"}] * 2,
    )
    setting: Any = SimpleNamespace(task=Classify(), known=Known(labels=("a", "b")), seed=1)
    trainings: Any = [outcome] * COUNT
    Curve.of(trainings, setting)


LOOPS: dict[str, Callable[[], object]] = {
    "slices": lambda: slices(by_sums(np.ones((COUNT, 1)), lambda sums_B1: {"n": sums_B1[:, 0]}), list("abcde")),
    "entities": lambda: Entities().tally([["B-PER"]] * COUNT, [["O"]] * COUNT),
    "labels of tokens": lambda: TokenLabels().tally([["N"]] * COUNT, [["V"]] * COUNT),
    "words": lambda: Words().tally([["ab"]] * COUNT, [["a", "b"]] * COUNT),
    "sets of labels": lambda: Sets().tally([["a"]] * COUNT, [["b"]] * COUNT),
    "classify": lambda: Classify().answers(SHARES, [], [], LABELS),
    "multi_label": lambda: MultiLabel().answers(SHARES, [], [], LABELS),
    "tag": tagged,
    "extract": extracted,
    "suspects": suspected,
    "a curve": concluded,
}  # fmt: skip

WANTED = {"a curve": 2 * COUNT + 1}
"""Each is read, and resampled with all others."""


@pytest.mark.parametrize("name", LOOPS)
def test_each_piece_is_told(name: str) -> None:
    ticks: list[None] = []
    with heard(lambda: ticks.append(None)):
        LOOPS[name]()
    assert len(ticks) >= WANTED.get(name, COUNT)

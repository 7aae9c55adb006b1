"""A model's answers to examples: features of like length go through the model together, in one long row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from danlu.corpus.batches import Batch, collate
from danlu.corpus.rows import Widths
from danlu.nn.transformer import Transformer
from danlu.tasks.feature import Feature
from danlu.tasks.task import Answer, Known, Task
from danlu.tasks.text_reader import TextReader
from danlu.tasks.writing import Written
from danlu.ticks import tick

ROW_TOKENS = 4096
"""Tokens of a row, where no single text has more: as fast as any number above it, and little memory."""


def answer(
    task: Task,
    model: Transformer,
    features: Sequence[Feature],
    examples: Sequence[Any],
    known: Known,
    reader: TextReader,
    *,
    told: Callable[[int], None] = lambda done: None,
) -> list[Answer]:
    """An answer an example, from which figures are made.

    Args:
        features: of the examples, in their order.
        told: hears how many features are done.
    """
    if isinstance(task, Written) and task.judged:
        return task.write(model, examples, reader, told=told)
    numbers = numbers_of(task, model, features, known, told=told)
    return _as_read(task.answers(numbers, features, examples, known), features)


def tuned_answers(
    task: Task,
    model: Transformer,
    features: Sequence[Feature],
    examples: Sequence[Any],
    known: Known,
    reader: TextReader,
) -> tuple[Known, list[Answer]]:
    """As :func:`answer`, of dev: first the task learns from it what it can, such as a threshold, and says so too."""
    if isinstance(task, Written) and task.judged:
        return known, task.write(model, examples, reader)
    numbers = numbers_of(task, model, features, known)
    known = task.tuned(numbers, features, examples, known)
    return known, _as_read(task.answers(numbers, features, examples, known), features)


def _as_read(answers: Sequence[Answer], features: Sequence[Feature]) -> list[Answer]:
    """The answers, of which those say so that are about a part of an example."""
    cut = {each.example for each in features if each.cut}
    return [replace(each, cut=True) if number in cut else each for number, each in enumerate(answers)]


@torch.inference_mode()
def numbers_of(
    task: Task,
    model: Transformer,
    features: Sequence[Feature],
    known: Known,
    *,
    told: Callable[[int], None] = lambda done: None,
) -> list[Tensor]:
    """What the model's answers are made from, a tensor a feature, in their order."""
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    found: list[Tensor | None] = [None] * len(features)
    done = 0
    with torch.compiler.set_stance("force_eager"):  # every row has a length of its own
        for places, batch in batches_of(features):
            numbers = task.numbers(model, batch.to(device), known)
            for place, number in zip(places, numbers, strict=True):
                found[place] = number
            done += len(places)
            told(done)
    model.train(was_training)
    return [each for each in found if each is not None]


def batches_of(features: Sequence[Feature], *, tokens: int = ROW_TOKENS) -> Iterator[tuple[list[int], Batch]]:
    """The places of some features, and them as one long row; the longest first.

    Args:
        tokens: of a row, where no single text has more.
    """
    for places in _rows(features, tokens):
        chosen = [features[place] for place in places]
        inputs = sum(len(each.tokens) for each in chosen)
        source = sum(0 if each.source is None else len(each.source) for each in chosen)
        yield places, collate([[each.as_example() for each in chosen]], widths=Widths(inputs, source))
        tick()


def _rows(features: Sequence[Feature], most: int) -> list[list[int]]:
    """Places of features, the longest first, as many as a row of ``most`` tokens has room for."""
    rows: list[list[int]] = []
    tokens = most
    for place in sorted(range(len(features)), key=lambda place: -features[place].size):
        size = features[place].size
        if tokens + size > most:
            rows.append([])
            tokens = 0
        rows[-1].append(place)
        tokens += size
    return rows

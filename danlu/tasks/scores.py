"""The figures of a task with their intervals and slices, and its answers as a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from danlu.files import atomic_write, write_json
from danlu.metrics.classification import confusion
from danlu.metrics.resampling import intervals
from danlu.metrics.tally import Tally, bands, overall, slices
from danlu.tasks.task import Answer, Known, Task

RESAMPLES = 1000
SHOWN_SCORES = 5
"""Labels whose scores a line of predictions has, the most probable ones."""


def tally(task: Task, examples: Sequence[Any], answers: Sequence[Answer], known: Known) -> Tally:
    """What the metric of ``task`` keeps of examples that say what is right."""
    return task.metric(known).tally([each.gold for each in examples], [each.value for each in answers])


def score(task: Task, examples: Sequence[Any], answers: Sequence[Answer], known: Known, *, seed: int) -> dict[str, Any]:
    """All figures, each with its interval; by length of the text, and by gold label where there is one."""
    found = tally(task, examples, answers, known)
    between = intervals(found, seed=seed, resamples=RESAMPLES)
    lengths = bands([sum(map(len, each.texts)) for each in examples])
    scored: dict[str, Any] = {
        "examples": len(examples),
        "figures": overall(found),
        "intervals": {name: list(each) for name, each in between.items()},
        "notes": dict(found.notes),
        "slices": {"characters": slices(found, lengths)},
    }
    golds = [each.gold for each in examples]
    if all(isinstance(each, str) for each in golds) and known.labels:
        found_confusion = confusion(golds, [each.value for each in answers])
        scored["slices"]["label"] = slices(found, golds)
        scored["confusion"] = {
            "labels": list(found_confusion.labels), "counts": found_confusion.counts_LL.tolist()
        }  # fmt: skip
    return scored


def write_scores(path: Path, scored: dict[str, Any]) -> None:
    """``test.json``: what :func:`score` has found."""
    write_json(path, scored)


def write_predictions(path: Path, examples: Sequence[Any], answers: Sequence[Answer]) -> None:
    """A line of JSON an example: where it stands, what was read, what is right, and the answer."""
    lines = [
        json.dumps(prediction(each, said), ensure_ascii=False) for each, said in zip(examples, answers, strict=True)
    ]
    atomic_write(path, "".join(f"{line}\n" for line in lines).encode())


def prediction(example: Any, said: Answer) -> dict[str, Any]:
    """What a line of predictions says."""
    line: dict[str, Any] = {"file": example.place.file.name, example.place.unit: example.place.number}
    line["texts"] = list(example.texts)
    if example.gold is not None:
        line["gold"] = example.gold
    line["prediction"] = said.value
    if said.confidence is not None:
        line["confidence"] = round(said.confidence, 6)
    if said.scores is not None:
        best = sorted(said.scores.items(), key=lambda item: -item[1])[:SHOWN_SCORES]
        line["scores"] = {label: round(share, 6) for label, share in best}
    return line | dict(said.more)


def as_plain(known: Known) -> dict[str, Any]:
    """``known`` as JSON."""
    return asdict(known)

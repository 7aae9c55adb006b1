"""The figures of a task with their intervals and slices, and its answers as a file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from danlu.files import atomic_write
from danlu.metrics.calibration import Calibration
from danlu.metrics.classification import confusion
from danlu.metrics.languages import language_column
from danlu.metrics.resampling import intervals
from danlu.metrics.tally import Tally, bands, of_each, overall, settled, slices
from danlu.tasks.task import Answer, Known, Task
from danlu.ticks import ticking

RESAMPLES = 1000
SHOWN_FIGURES = 5
"""Figures beside the criterion that a line to show has."""
SHOWN_SCORES = 5
"""Labels whose scores a line of predictions has, the most probable ones."""
TOGETHER = 256
"""Examples whose own figures are reckoned together: what that takes grows with their square."""
ERROR = "mean_absolute_error"
"""The figure of an example alone where the task's own is of many, as a correlation is."""
CORRELATIONS = ("pearson", "spearman")
RANK_ERROR = "rank_error"
"""The same where gold and answer have no scale in common: how far apart their ranks are, as a share of all."""


def tally(task: Task, examples: Sequence[Any], answers: Sequence[Answer], known: Known) -> Tally:
    """What the metric of ``task`` keeps of examples that say what is right."""
    return task.metric(known).tally([each.gold for each in examples], [each.value for each in answers])


def score(task: Task, examples: Sequence[Any], answers: Sequence[Answer], known: Known, *, seed: int) -> dict[str, Any]:
    """All figures, each with its interval; by length of the text, by language where there are several, by gold label
    where there is one.
    """
    found = tally(task, examples, answers, known)
    between = intervals(found, seed=seed, resamples=RESAMPLES)
    lengths = bands([sum(map(len, each.texts)) for each in examples])
    scored: dict[str, Any] = {
        "examples": len(examples),
        "figures": overall(found),
        "intervals": {name: list(each) for name, each in between.items()},
        "notes": dict(found.notes),
        "criterion": task.criterion,
        "slices": {"characters": slices(found, lengths)},
    }
    spoken = language_column([" ".join(each.texts) for each in examples])
    if len(set(spoken)) > 1:
        scored["slices"]["language"] = slices(found, spoken)
    golds = [each.gold for each in examples]
    if all(isinstance(each, str) for each in golds) and known.labels:
        found_confusion = confusion(golds, [each.value for each in answers])
        scored["slices"]["label"] = slices(found, golds)
        scored["confusion"] = {
            "labels": list(found_confusion.labels), "counts": found_confusion.counts_LL.tolist()
        }  # fmt: skip
        if all(each.confidence is not None for each in answers):
            scored["calibration"] = _calibration(golds, answers)
    return scored


def _calibration(golds: Sequence[str], answers: Sequence[Answer]) -> dict[str, Any]:
    """How far confidence and accuracy are apart: of the confidences as the file of predictions has them."""
    metric, said = Calibration(), [(each.value, round(each.confidence or 0.0, 6)) for each in answers]
    figures = overall(metric.tally(golds, said))
    return {"bins": metric.bins, **figures, "by_bin": [each._asdict() for each in metric.by_bin(golds, said)]}


def in_words(split: str, scored: Mapping[str, Any]) -> str:
    """One line to show: the task's criterion with its interval, and the figures of the whole beside it."""
    figures, criterion = scored["figures"], scored["criterion"]
    low, high = scored["intervals"].get(criterion, (math.nan, math.nan))
    between = "" if math.isnan(low) else f" (95 % between {low:.4f} and {high:.4f})"
    others = [f"{name} {value:.4f}" for name, value in figures.items() if name != criterion and _is_of_all(name)]
    said = ", ".join([f"{criterion} {figures[criterion]:.4f}{between}", *others[:SHOWN_FIGURES]])
    return f"{split}, {scored['examples']:,} examples: {said}{_of_no_model(scored)}"


def _is_of_all(name: str) -> bool:
    """Whether a figure is of all labels, and not, as micro ones of single labels, the accuracy under another name."""
    return "." not in name or name == "macro.f1"


def _of_no_model(scored: Mapping[str, Any]) -> str:
    """How often the most frequent label alone would be right, where accuracy counts."""
    if scored["criterion"] != "accuracy" or "confusion" not in scored:
        return ""
    counts = [sum(row) for row in scored["confusion"]["counts"]]
    label = scored["confusion"]["labels"][counts.index(max(counts))]
    return f"; to say {label!r} always would be right in {max(counts) / sum(counts):.4f}"


def of_itself(task: Task, examples: Sequence[Any], answers: Sequence[Answer], known: Known) -> list[dict[str, float]]:
    """The task's criterion of every example alone, by its name; nothing where right and wrong say it all (labels)."""
    golds, values = [each.gold for each in examples], [each.value for each in answers]
    if known.labels and all(isinstance(each, str) for each in golds):
        return [{} for _ in golds]
    metric, found = settled(task.metric(known), golds), []
    if task.criterion in CORRELATIONS and ERROR not in overall(metric.tally(golds, values)):
        return [{RANK_ERROR: round(apart, 6)} for apart in np.abs(_ranks(golds) - _ranks(values)).tolist()]
    for start in ticking(range(0, len(golds), TOGETHER)):
        part = slice(start, start + TOGETHER)
        figures = of_each(metric.tally(golds[part], values[part]))
        name = ERROR if ERROR in figures else task.criterion
        of_part = figures.get(name, np.full(len(golds[part]), np.nan)).tolist()
        found += [{} if np.isnan(value) else {name: round(value, 6)} for value in of_part]
    return found


def _ranks(numbers: Sequence[float]) -> NDArray[np.float64]:
    """The rank of each number as a share of all, the mean one of equals."""
    ordered = np.sort(numbers)
    first, behind = (np.searchsorted(ordered, numbers, side=side) for side in ("left", "right"))
    return (first + behind) / 2 / len(numbers)


def write_predictions(
    path: Path, examples: Sequence[Any], answers: Sequence[Answer], figures: Sequence[Mapping[str, float]] = ()
) -> None:
    """A line of JSON an example: where it stands, what was read, what is right, the answer, and its own figures."""
    lines = [
        prediction(each, said) | ({"figures": dict(own)} if own else {})
        for each, said, own in ticking(zip(examples, answers, figures or [{} for _ in answers], strict=True))
    ]
    atomic_write(path, "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines).encode())


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
    if said.cut:
        line["cut"] = True
    return line | dict(said.more)

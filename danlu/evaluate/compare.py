"""Whether runs differ: every figure against the first run's, paired where both answered the same examples.

A difference is tested by approximate randomisation, its interval is a paired bootstrap (``metrics/resampling.py``),
and who is right on how many examples is tested by McNemar's test. Of more than two runs the p-values of each figure
are corrected for their number (Holm 1979).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from danlu.errors import DanluError, InputError
from danlu.evaluate.compared import SPLITS, Run, aligned, of_all, stride_of
from danlu.evaluate.finetuned import main_figures
from danlu.evaluate.predictions import Prediction, has_right
from danlu.files import read_jsonl
from danlu.metrics.classification import Classification, MultiLabel
from danlu.metrics.resampling import Difference, compare, intervals, mcnemar
from danlu.metrics.tally import Metric, Tally, by_sums, overall
from danlu.recipe import Choice

RESAMPLES = 2000
A_TEST = 200
"""Draws for each run that is compared with the first, at least: the least p-value that so many can give is 0.005 once
it is corrected for their number, and so decides at no usual level."""
HELDOUT = "held-out documents"


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of all runs."""

    name: str
    values: Sequence[float | None]
    """By run; None where it has none."""
    intervals: Sequence[Sequence[float] | None]
    differences: Sequence[Difference | None]
    """From the first run; None of that itself, and where examples are not the same."""
    p: Sequence[float | None]
    """Of the differences, corrected for how many runs are compared with the first."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """On how many examples a run and the first are right."""

    run: str
    both: int
    only_first: int
    only_other: int
    neither: int
    p: float
    """McNemar's, corrected as the others are."""


@dataclass(frozen=True)
class Part:
    """A split, or the held-out documents: what the runs have come to there."""

    name: str
    base: str
    """The run that the others are compared with: the first that has this."""
    names: Sequence[str]
    """Of all runs."""
    figures: Sequence[Figure]
    reasons: Mapping[str, str]
    """Why a run is not paired with the first, by its name."""
    agreements: Sequence[Agreement] = ()
    predictions: Sequence[Sequence[Prediction] | None] = ()
    """By run, in the first's order; None where the examples are not the same."""
    criterion: str | None = None


class BitsPerByte:
    """Bits per byte of documents: gold is a document's bytes, the answer the bits that a model gives it."""

    def tally(self, gold: Sequence[float], predicted: Sequence[float]) -> Tally:
        """Figure ``bits_per_byte``."""
        sums_N2 = np.array([predicted, gold], dtype=np.float64).T
        return by_sums(sums_N2, lambda sums_B2: {"bits_per_byte": sums_B2[:, 0] / sums_B2[:, 1]})


@dataclass(frozen=True)
class Chosen:
    """Questions of a suite: an answer is what it adds to each figure, by name."""

    def tally(self, gold: Sequence[Any], predicted: Sequence[Mapping[str, float]]) -> Tally:
        """Figures ``acc`` and all else that every answer adds to: shares, and ``perplexity`` of nats."""
        names = [name for name in predicted[0] if all(name in each for each in predicted)]
        parts_NS = np.array([[each[name] for name in names] for each in predicted], dtype=np.float64)

        def figures(times_BN: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
            means_BS = times_BN @ parts_NS / times_BN.sum(1, keepdims=True)
            return {
                name: np.exp(mean_B) if name == "perplexity" else mean_B
                for name, mean_B in zip(names, means_BS.T, strict=True)
            }

        return Tally(len(gold), figures)


def draws_for(tests: int) -> int:
    """Draws of a test where so many p-values are corrected for each other: of 100 runs the least of 2,000 draws, 1 in
    2,001, would become 0.05 whatever the difference."""
    return max(RESAMPLES, A_TEST * tests)


def compare_runs(runs: Sequence[Run], *, seed: int = 0) -> list[Part]:
    """All parts that one run or more has: test, dev, held-out documents."""
    there = dict.fromkeys(name for run in runs for name in run.predictions)
    names = [*(name for name in SPLITS if name in there), *(name for name in there if name not in SPLITS)]
    parts = [_split_part(runs, name, seed=seed) for name in names]
    if any(_heldout_scores(run).get("figures") for run in runs):
        parts.append(_heldout_part(runs, seed=seed))
    return parts


def holm(values: Sequence[float | None]) -> list[float | None]:
    """p-values corrected so that the chance of any false finding among them stays that of one (Holm 1979).

    What is None is no test, and stays so.
    """
    tests = sorted((value, place) for place, value in enumerate(values) if value is not None)
    found: list[float | None] = [None] * len(values)
    highest = 0.0
    for rank, (value, place) in enumerate(tests):
        highest = max(highest, min(1.0, value * (len(tests) - rank)))
        found[place] = highest
    return found


def _split_part(runs: Sequence[Run], split: str, *, seed: int) -> Part:
    """A split of the fine-tunings and of other tools' predictions of it, or a suite of questions."""
    base = next(run for run in runs if split in run.predictions)
    metric, reasons = _metric(base, split), {}
    gold = [each.gold for each in base.predictions[split]]
    predictions: list[Sequence[Prediction] | None] = []
    differences: list[dict[str, Difference]] = []
    scored: list[Mapping[str, Any]] = []
    for run in runs:
        same, why = _paired(base, run, split, metric)
        found: dict[str, Difference] = {}
        answers = None if same is None else _answers(metric, same)
        try:
            if answers is not None and metric is not None and run is not base:
                said = _answers(metric, base.predictions[split])
                found = compare(metric, gold, said, answers, seed=seed, resamples=draws_for(len(runs) - 1))
                _check_figures(found, base, run, split)
        except InputError as error:
            found, why, same = {}, str(error), None
        if why:
            reasons[run.name] = why
        predictions.append(same)
        differences.append(found)
        scored.append(run.scores.get(split) or _scored(metric, gold, answers, seed=seed))
    figures = _figures(scored, differences)
    tested = [None if same is None or run is base or not has_right(same) else
              mcnemar([each.right for each in predictions[runs.index(base)] or ()], [each.right for each in same])
              for run, same in zip(runs, predictions, strict=True)]  # fmt: skip
    agreements = [
        _agreement(run.name, base.predictions[split], same or (), p)
        for run, same, p in zip(runs, predictions, holm(tested), strict=True)
        if p is not None
    ]
    criterion = base.scores[split].get("criterion") if split in base.scores else None
    return Part(split, base.name, [run.name for run in runs], figures, reasons, agreements, predictions, criterion)


def _answers(metric: Metric[Any, Any] | None, predictions: Sequence[Prediction]) -> list[Any]:
    """What a metric compares with gold."""
    if isinstance(metric, Chosen):
        return [{"acc": float(each.said == each.gold), **each.parts} for each in predictions]
    return [each.said for each in predictions]


def _check_figures(found: Mapping[str, Difference], base: Run, run: Run, split: str) -> None:
    """Raise InputError where a run's figures are not those of its predictions: one of both was changed."""
    for one, values in (
        (base, {name: each.first for name, each in found.items()}),
        (run, {name: each.second for name, each in found.items()}),
    ):
        said = one.scores.get(split, {}).get("figures", {})
        for name, value in values.items():
            if name in said and not math.isclose(said[name], value, rel_tol=1e-4, abs_tol=1e-6):
                raise InputError(f"{one.name}'s predictions have {name} {value:.4g}, its {split}.json {said[name]:.4g}")


def _figures(scored: Sequence[Mapping[str, Any]], differences: Sequence[Mapping[str, Difference]]) -> list[Figure]:
    names = dict.fromkeys(name for each in scored for name in main_figures(each.get("figures", {})))
    labels = dict.fromkeys(name for each in scored for name in each.get("figures", {})
                           if name.startswith("label.") and name.endswith(".f1"))  # fmt: skip
    found = []
    for name in (*names, *labels):
        apart = [each.get(name) for each in differences]
        values = [each.get("figures", {}).get(name) for each in scored]
        between = [each.get("intervals", {}).get(name) for each in scored]
        p = holm([None if each is None else each.p_randomisation for each in apart])
        found.append(Figure(name, values, between, apart, p))
    return found


def _paired(base: Run, run: Run, split: str, metric: Metric[Any, Any] | None) -> tuple[list[Prediction] | None, str]:
    """The run's predictions in the order of the first's; or why there are none to compare."""
    if split not in run.predictions:
        return None, f"it has no {split}"
    if run is base:
        return list(run.predictions[split]), ""
    same = aligned(base.predictions[split], run.predictions[split])
    if isinstance(same, str):
        return None, f"{same} of {base.name}"
    if isinstance(metric, MultiLabel):
        same = [in_the_order_of_gold(each) for each in same]
    if metric is None:
        return same, f"{base.name} has no model from which its metric could be known"
    if run.done and not _is_like(metric, _metric(run, split)):
        return None, f"it is measured otherwise than {base.name}"
    return same, ""


def in_the_order_of_gold(each: Prediction) -> Prediction:
    """Labels in any order are the same; another tool may have another one."""
    if not isinstance(each.said, list) or not all(isinstance(label, str) for label in each.said):
        return each
    return replace(each, said=each.gold) if sorted(each.said) == sorted(each.gold) else each


def _metric(run: Run, split: str) -> Metric[Any, Any] | None:
    """What the task of a run is measured by, with any labels; None where its model is gone."""
    if split not in SPLITS:
        return Chosen()
    if "finetune" not in run.folders:
        return None
    from danlu.tasks.model_folder import Trained

    try:
        trained = Trained.load(run.folders["finetune"] / "model")
    except DanluError:
        labels = all(isinstance(each.gold, str) and isinstance(each.said, str) and not each.figures
                     for found in run.predictions.values() for each in found)  # fmt: skip
        return Classification() if labels else None
    metric: Metric[Any, Any] = trained.task.metric(trained.known)
    fields = type(metric).model_fields if isinstance(metric, Choice) else {}
    if isinstance(metric, Choice) and "labels" in fields and fields["labels"].default is None:
        return metric.model_copy(update={"labels": None})
    return metric


def _is_like(one: Metric[Any, Any], other: Metric[Any, Any] | None) -> bool:
    return other is not None and type(one) is type(other) and repr(one) == repr(other)


def _scored(
    metric: Metric[Any, Any] | None, gold: Sequence[Any], answers: Sequence[Any] | None, *, seed: int
) -> dict[str, Any]:
    """Figures and intervals of another tool's predictions."""
    if metric is None or answers is None:
        return {}
    try:
        tally = metric.tally(gold, answers)
    except InputError:
        return {}
    return {"figures": overall(tally), "intervals": intervals(tally, seed=seed)}


def _agreement(name: str, first: Sequence[Prediction], other: Sequence[Prediction], p: float) -> Agreement:
    pairs = [(one.right, two.right) for one, two in zip(first, other, strict=True)]
    both, only_first, only_other, neither = (
        pairs.count(each) for each in ((True, True), (True, False), (False, True), (False, False))
    )
    return Agreement(name, both, only_first, only_other, neither, p)


def _heldout_part(runs: Sequence[Run], *, seed: int) -> Part:
    """The held-out documents of pretraining, paired by document in bits per byte, whatever the tokenizers."""
    documents = [_documents(run) for run in runs]
    place = next((place for place, each in enumerate(documents) if each), None)
    first = {} if place is None else documents[place]
    base = runs[place] if place is not None else next(run for run in runs if _heldout_scores(run).get("figures"))
    differences: list[dict[str, Difference]] = []
    reasons = {}
    for run, found in zip(runs, documents, strict=True):
        apart: dict[str, Difference] = {}
        if not _heldout_scores(run).get("figures"):
            reasons[run.name] = "it has no figures of held-out documents"
        elif run is not base:
            sizes = {name: size for name, (size, _) in found.items()}
            if not found or sizes != {name: size for name, (size, _) in first.items()}:
                reasons[run.name] = f"other documents than those of {base.name} were held out"
            elif _stride(run) != _stride(base):
                reasons[run.name] = f"its perplexity was measured with another stride than that of {base.name}"
            else:
                bits = [[each[name][1] for name in first] for each in (first, found)]
                apart = compare(BitsPerByte(), [sizes[name] for name in first], *bits,
                                seed=seed, resamples=draws_for(len(runs) - 1))  # fmt: skip
        differences.append(apart)
    scored = [_heldout_scores(run) for run in runs]
    figures = _figures(scored, differences)
    criterion = next((name for name in ("bits_per_byte", "loss") if any(each.name == name for each in figures)), None)
    return Part(HELDOUT, base.name, [run.name for run in runs], figures, reasons, criterion=criterion)


def _documents(run: Run) -> dict[str, tuple[float, float]]:
    """Bytes and bits of each held-out document, by its name; none where they were not measured one by one."""
    if "evaluate" not in run.folders:
        return {}
    path = run.folders["evaluate"] / "perplexity_documents.jsonl"
    if not path.exists():
        return {}
    found = {}
    for number, line in enumerate(read_jsonl(path), 1):
        size, bits = line.get("bytes"), line.get("bits_per_byte")
        if not isinstance(line.get("id"), str) or not isinstance(size, int) or not isinstance(bits, float | int):
            raise InputError(f"{path} is damaged at line {number}: it must have id, bytes and bits_per_byte")
        found[line["id"]] = float(size), float(bits) * size
    return found


def _stride(run: Run) -> int | None:
    return stride_of(run.folders["evaluate"] / "perplexity.json") if "evaluate" in run.folders else None


def _heldout_scores(run: Run) -> dict[str, Any]:
    if "evaluate" not in run.folders:
        return {}
    known = of_all(run.folders["evaluate"] / "perplexity.json")
    figures = {name.removeprefix("all."): value for name, value in run.figures("evaluate").items()
               if name.startswith("all.") and isinstance(value, float) and math.isfinite(value)}  # fmt: skip
    return {"figures": figures, "intervals": {name: known.get(f"{name}_95") for name in figures}}

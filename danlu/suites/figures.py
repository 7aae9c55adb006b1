"""From what a model makes of each choice to figures: those of ``lm-evaluation-harness``, with chance beside them.

``acc`` takes the likeliest choice, ``acc_norm`` the one that is likeliest by character, ``acc_bytes`` by byte of
UTF-8; of equals the first, and ``ties`` counts the questions where the right one is among several that are equally
likely. What a suite asks to be written has ``acc`` and the ``perplexity`` of the words. ``chance`` is what guessing
gives, ``majority`` always taking the place that is right most often. A standard error is that of a mean.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from danlu.metrics.bootstrap import ratio_interval
from danlu.suites.question import Question, Suite
from danlu.suites.request import Score

BY_LENGTH = ("acc_norm", "acc_bytes")
"""Figures of choices whose likelihoods are divided by their lengths."""
SHARES = ("acc", *BY_LENGTH)
"""Figures that are shares of the questions."""


class Answered(NamedTuple):
    """A question, and the score of each of its choices."""

    question: Question
    scores: tuple[Score, ...]

    @property
    def log_likelihoods(self) -> NDArray[np.float64]:
        return np.array([score.log_likelihood for score in self.scores])

    def chosen(self, *, by: str = "acc") -> int:
        """The place of the likeliest choice: of all, by character or by byte."""
        lengths = [_length(choice, by) for choice in self.question.choices]
        return int(np.argmax(self.log_likelihoods / np.array(lengths)))


def figures(answered: Sequence[Answered], suite: Suite, *, seed: int) -> dict[str, Any]:
    """The figures of some questions, intervals as pairs under names that end in ``_95``."""
    if suite.written:
        return _written(answered, seed=seed)
    found: dict[str, Any] = {"items": len(answered)}
    for name in SHARES if suite.normalised else ("acc",):
        right = np.array([float(each.chosen(by=name) == each.question.gold) for each in answered])
        found |= _mean(name, right, seed=seed)
    found["chance"] = _rounded(np.mean([1 / len(each.scores) for each in answered]))
    if not suite.first_is_right:
        places = Counter(each.question.gold for each in answered)
        found["majority"] = _rounded(max(places.values()) / len(answered))
    found["ties"] = sum(map(_tied, answered))
    return found | _cut(answered)


def by_group(answered: Sequence[Answered], suite: Suite, *, seed: int) -> dict[str, dict[str, dict[str, Any]]]:
    """The figures of each group, by the kind of groups."""
    kinds = dict.fromkeys(kind for each in answered for kind in each.question.groups)
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for kind in kinds:
        parts: dict[str, list[Answered]] = {}
        for each in answered:
            if kind in each.question.groups:
                parts.setdefault(each.question.groups[kind], []).append(each)
        found[kind] = {name: figures(part, suite, seed=seed) for name, part in sorted(parts.items())}
    return found


def line_of(each: Answered, suite: Suite) -> dict[str, Any]:
    """What is written down of one question: all that its part in each figure follows from."""
    question = each.question
    chosen = each.chosen()
    right = each.scores[0].greedy if suite.written else chosen == question.gold
    return {
        "line": question.place.number,
        **question.groups,
        "context": question.requests[0].context,
        "choices": list(question.choices),
        "gold": question.gold,
        **({"greedy": each.scores[0].greedy} if suite.written else {"chosen": chosen}),
        "right": right,
        **({"chosen_by": {name: each.chosen(by=name) for name in BY_LENGTH}} if suite.normalised else {}),
        "log_likelihoods": [round(score.log_likelihood, 6) for score in each.scores],
    }


def _written(answered: Sequence[Answered], *, seed: int) -> dict[str, Any]:
    nats = np.array([-each.scores[0].log_likelihood for each in answered])
    interval = ratio_interval(nats, np.ones(len(nats)), seed=seed)
    return {
        "items": len(answered),
        **_mean("acc", np.array([float(each.scores[0].greedy) for each in answered]), seed=seed),
        "perplexity": _rounded(np.exp(nats.mean())),
        **({} if interval is None else {"perplexity_95": [_rounded(np.exp(bound)) for bound in interval]}),
        **_cut(answered),
    }


def _mean(name: str, values: NDArray[np.float64], *, seed: int) -> dict[str, Any]:
    """The mean with its standard error and a bootstrap interval; these not of one value alone."""
    found: dict[str, Any] = {name: _rounded(values.mean())}
    interval = ratio_interval(values, np.ones(len(values)), seed=seed)
    if interval is not None:
        found[f"{name}_stderr"] = _rounded(values.std(ddof=1) / math.sqrt(len(values)))
        found[f"{name}_95"] = [_rounded(bound) for bound in interval]
    return found


def _length(choice: str, by: str) -> int:
    return {"acc": 1, "acc_norm": len(choice), "acc_bytes": len(choice.encode())}[by]


def _tied(each: Answered) -> bool:
    nats = each.log_likelihoods
    best = nats == nats.max()
    return bool(best[each.question.gold] and best.sum() > 1)


def _cut(answered: Sequence[Answered]) -> dict[str, int]:
    return {"cut": sum(any(score.cut for score in each.scores) for each in answered)}


def _rounded(value: Any) -> float:
    return round(float(value), 6)

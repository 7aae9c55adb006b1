"""Labels and numbers that are likely wrong, by models of cross-validation, none of which has seen the example that it
judges.

Axes: N examples, L labels.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from danlu.data.found import quoted
from danlu.data.labelled import MultiLabelled, Scored
from danlu.data.suspects import suspects
from danlu.metrics.tally import Numbers
from danlu.ticks import ticking

SHOWN = 3
"""Suspects that the line for people has."""
FAR = 5.0
"""Standard deviations that a number is from what a model says where it is far, by their median: 1.4826 times the median
of the distances, which a few errors do not change."""
SURE = 3.0
"""Standard errors by which models must be better than chance: what others contradict is as likely right."""
ROUNDING = 1e-6
"""Share of the width of all numbers that is no distance."""


@dataclass(frozen=True)
class Wrong:
    """Labels that look wrong."""

    lines: list[dict[str, Any]]
    """Their predictions, the surest first, with ``instead``, the likelier label, and ``margin``, by how much it is."""
    said: str
    """In words; that there is none is worth saying too."""


def likely_wrong(examples: Sequence[Any], lines: Sequence[Mapping[str, Any]], file: str) -> Wrong | None:
    """The labels that confident learning suspects, of several labels each for itself, or the numbers that are far from
    what models say; None where examples have neither, or lines no scores.

    Args:
        lines: the predictions, whose ``scores`` are of the likeliest labels; any other counts as 0.
        file: what the lines will be in, to be said.
    """
    if all(isinstance(each, Scored) and each.number is not None for each in examples):
        return _numbers(examples, lines, file)
    if all(isinstance(each, MultiLabelled) and each.gold is not None for each in examples):
        return _several(examples, lines, file)
    if not all(line.get("scores") and each.labels == (line["gold"],)
               for each, line in zip(examples, lines, strict=True)):  # fmt: skip
        return None
    known = sorted({line["gold"] for line in lines} | {label for line in lines for label in line["scores"]})
    likeliest = [max(line["scores"], key=lambda label: line["scores"][label]) for line in lines]
    if not _beats_chance([line["gold"] for line in lines], likeliest):
        return _of_no_use("labels look")
    probabilities_NL = np.array([[line["scores"].get(label, 0.0) for label in known] for line in ticking(lines)])
    found = suspects([line["gold"] for line in lines], known, probabilities_NL)
    if not found:
        return Wrong([], "no label looks wrong to models that have not seen its text")
    wrong = [{**lines[each.item], "instead": each.instead, "margin": round(each.margin, 6)} for each in found]
    named = [
        f"{quoted(examples[each.item])} is {each.label!r}, likelier {each.instead!r}" for each in found[: SHOWN + 1]
    ]
    return Wrong(wrong, _said("labels look wrong", len(found), len(lines), named, file))


def _several(examples: Sequence[Any], lines: Sequence[Mapping[str, Any]], file: str) -> Wrong:
    """Of each label by itself: texts that have it and likely should not, or the other way round."""
    known = sorted({label for each in examples for label in each.gold})
    found, judged = [], 0
    for label in ticking(known):
        has = ["has" if label in each.gold else "lacks" for each in examples]
        shares_N = np.array([line["scores"].get(label, 0.0) for line in lines])
        if not _beats_chance(has, ["has" if label in line["prediction"] else "lacks" for line in lines]):
            continue
        judged += 1
        for each in suspects(has, ("has", "lacks"), np.stack([shares_N, 1 - shares_N], 1)):
            found.append((each.margin, each.item, label, each.label == "has"))
    if not judged:
        return _of_no_use("labels look")
    if not found:
        return Wrong([], "no label looks wrong to models that have not seen its text")
    found.sort(key=lambda each: (-each[0], each[1:]))
    wrong = [
        {**lines[item], ("without" if has else "with"): label, "margin": round(margin, 6)}
        for margin, item, label, has in found
    ]
    named = [
        f"{quoted(examples[item])} {'has' if has else 'lacks'} {label!r}" for _, item, label, has in found[: SHOWN + 1]
    ]
    return Wrong(wrong, _said("labels look wrong", len(found), len(lines) * len(known), named, file))


def _numbers(examples: Sequence[Any], lines: Sequence[Mapping[str, Any]], file: str) -> Wrong:
    """Numbers that are far from what models say, the furthest first; that is brought to the numbers' scale by a line
    through all, for some say cosines."""
    said_N = np.array([float(line["prediction"]) for line in lines])
    given_N = np.array([float(each.number) for each in examples])
    if not _correlate(said_N, given_N):
        return _of_no_use("numbers look")
    slope = np.cov(said_N, given_N)[0, 1] / said_N.var(ddof=1) if np.ptp(said_N) > 0 else 0.0
    likely_N = given_N.mean() + slope * (said_N - said_N.mean())
    away_N = np.abs(given_N - likely_N)
    far = max(FAR * 1.4826 * float(np.median(away_N)), ROUNDING * float(np.ptp(given_N)))
    order = [int(item) for item in np.argsort(-away_N, kind="stable") if away_N[item] > far]
    if not order:
        return Wrong([], "no number looks wrong to models that have not seen its text")
    wrong = [
        {**lines[item], "instead": round(float(likely_N[item]), 6), "margin": round(float(away_N[item]), 6)}
        for item in order
    ]
    named = [
        f"{quoted(examples[item])} is {given_N[item]:g}, likelier {likely_N[item]:.3g}" for item in order[: SHOWN + 1]
    ]
    return Wrong(wrong, _said("numbers look wrong", len(order), len(lines), named, file))


def _beats_chance(gold: Sequence[str], said: Sequence[str]) -> bool:
    """Whether answers agree with labels more often than they would by chance (Cohen 1960), whatever is how frequent."""
    share_of = [{label: count / len(gold) for label, count in Counter(each).items()} for each in (gold, said)]
    by_chance = sum(share * share_of[1].get(label, 0.0) for label, share in share_of[0].items())
    agreed = sum(one == other for one, other in zip(gold, said, strict=True)) / len(gold)
    return agreed - by_chance > SURE * math.sqrt(by_chance * (1 - by_chance) / len(gold))


def _correlate(first_N: Numbers, second_N: Numbers) -> bool:
    """The same of numbers; of equal ones nothing is said."""
    if not (np.ptp(first_N) > 0 and np.ptp(second_N) > 0):
        return False
    return abs(float(np.corrcoef(first_N, second_N)[0, 1])) * math.sqrt(len(first_N)) > SURE


def _of_no_use(what: str) -> Wrong:
    return Wrong([], f"which {what} wrong to models that have not seen their texts cannot be told: these models are no "
                     f"better than chance")  # fmt: skip


def _said(what: str, count: int, of: int, named: Sequence[str], file: str) -> str:
    more = "; …" if len(named) > SHOWN else ""
    listed = "; ".join(named[:SHOWN])
    where = f"to models that have not seen their texts (the surest first in {file})"
    return f"{count:,} of {of:,} {what} {where}: {listed}{more}"

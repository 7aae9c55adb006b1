"""Labels that are likely wrong, by models of cross-validation, none of which has seen the example that it judges.

Axes: N examples, L labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from danlu.data.found import quoted
from danlu.data.suspects import suspects

SHOWN = 3
"""Suspects that the line for people has."""


@dataclass(frozen=True)
class Wrong:
    """Labels that look wrong."""

    lines: list[dict[str, Any]]
    """Their predictions, the surest first, with ``instead``, the likelier label, and ``margin``, by how much it is."""
    said: str
    """In words; that there is none is worth saying too."""


def likely_wrong(examples: Sequence[Any], lines: Sequence[Mapping[str, Any]], file: str) -> Wrong | None:
    """The labels that confident learning suspects; None where examples have not one label each, or lines no scores.

    Args:
        lines: the predictions, whose ``scores`` are of the likeliest labels; any other counts as 0.
        file: what the lines will be in, to be said.
    """
    if not all(line.get("scores") and each.labels == (line["gold"],)
               for each, line in zip(examples, lines, strict=True)):  # fmt: skip
        return None
    known = sorted({line["gold"] for line in lines} | {label for line in lines for label in line["scores"]})
    probabilities_NL = np.array([[line["scores"].get(label, 0.0) for label in known] for line in lines])
    found = suspects([line["gold"] for line in lines], known, probabilities_NL)
    if not found:
        return Wrong([], "no label looks wrong to models that have not seen its text")
    named = "; ".join(f"{quoted(examples[each.item])} is {each.label!r}, likelier {each.instead!r}"
                      for each in found[:SHOWN])  # fmt: skip
    more = "; …" if len(found) > SHOWN else ""
    what = f"{len(found):,} of {len(lines):,} labels look wrong to models that have not seen their texts"
    wrong = [{**lines[each.item], "instead": each.instead, "margin": round(each.margin, 6)} for each in found]
    return Wrong(wrong, f"{what} (the surest first in {file}): {named}{more}")

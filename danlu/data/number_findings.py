"""Numbers that look like errors: far from all others, as a lost decimal mark leaves them, or two for one text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from danlu.data.alike import same_texts
from danlu.data.example import TaskExample
from danlu.data.found import EXAMPLES, Finding, quoted
from danlu.data.labelled import Scored

FAR = 5.0
"""Times the distance between the quartiles that a number is away from the nearer one, where it is far; Tukey's (1977)
extreme values are 3."""
_FEW, _SHARE = 3, 0.01
"""So many numbers may be errors, or such a share; more of them are a distribution with a long tail."""
_ENOUGH = 20
"""Numbers below which it may be chance."""


def odd_numbers(splits: Mapping[str, Sequence[TaskExample]]) -> Iterator[Finding]:
    """Those among the numbers of all splits together."""
    numbered = [
        (name, each)
        for name, examples in splits.items()
        for each in examples
        if isinstance(each, Scored) and each.number is not None
    ]
    if len(numbered) < _ENOUGH:
        return
    low, high = np.quantile([each.number for _, each in numbered], [0.25, 0.75]).tolist()
    if low < high:
        yield from _far(numbered, low, high)
        yield from _other_numbers(numbered, high - low)


def _far(numbered: Sequence[tuple[str, Scored]], low: float, high: float) -> Iterator[Finding]:
    """Numbers that are far from the middle half of all."""
    most = FAR * (high - low)
    far = [(name, each) for name, each in numbered if not low - most <= float(each.number or 0) <= high + most]
    if 0 < len(far) <= max(_FEW, _SHARE * len(numbered)):
        for split in dict.fromkeys(name for name, _ in far):
            here = [each for name, each in far if name == split]
            are = "number is" if len(here) == 1 else "numbers are"
            what = f"{len(here):,} {are} far from the others, half of which are from {low:g} to {high:g}"
            named = tuple(f"{each.number:g} ({each.place.short})" for each in here[: EXAMPLES + 1])
            yield Finding("far", (split,), len(here), sum(name == split for name, _ in numbered), what, named)


def _other_numbers(numbered: Sequence[tuple[str, Scored]], apart: float) -> Iterator[Finding]:
    """Texts that have two numbers, further apart than the middle half of all is wide: one of them is wrong."""
    first: dict[tuple[str, ...], tuple[str, Scored]] = {}
    found: dict[tuple[str, ...], list[str]] = {}
    for name, example in numbered:
        earlier, other = first.setdefault(same_texts(example.texts), (name, example))
        if abs(float(example.number or 0) - float(other.number or 0)) > apart:
            named = f"{quoted(example)} is {example.number:g}, but {other.number:g} in {other.place.short}"
            found.setdefault(tuple(dict.fromkeys((earlier, name))), []).append(named)
    for where, listed in found.items():
        texts = "text has" if len(listed) == 1 else "texts have"
        across = f" in {where[0]}" if len(where) > 1 else ""
        what = f"{len(listed):,} {texts} quite another number{across} where it stands again"
        yield Finding("conflict", where, len(listed), len(numbered), what, tuple(listed[: EXAMPLES + 1]))

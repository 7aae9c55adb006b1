"""Which document that is kept to show beside one that was dropped."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from danlu.clean.samples import KEPT, Example


@dataclass(frozen=True, slots=True)
class Beside:
    """A document that was dropped, and one to compare it with: the one that it repeats, or one like it that is kept."""

    dropped: Example
    kept: Example | None
    repeats: bool = False


def beside(examples: Sequence[Example], kept: Sequence[Example]) -> list[Beside]:
    """Each example with the document it repeats; else with one of its language, about as long, seldom one twice."""
    used: Counter[str] = Counter()
    found = []
    for example in examples:
        if example.of:
            found.append(Beside(example, _repeated(example), repeats=True))
            continue
        alike = [each for each in kept if each.language == example.language]
        # How many times as long one is as the other, in powers of two; and one that stands beside another costs two.
        apart = {each.id: _apart(each, example) + 2 * used[each.id] for each in alike}
        chosen = min(alike, key=lambda each: (apart[each.id], each.order, each.id), default=None)
        if chosen is not None:
            used[chosen.id] += 1
        found.append(Beside(example, chosen))
    return found


def _repeated(example: Example) -> Example:
    """What an example says of the document that it repeats, whose language it does not say."""
    return Example(KEPT, "", example.of, example.language, example.of_text, example.of_characters)


def _apart(one: Example, other: Example) -> int:
    """How many times as long the longer one is, in whole powers of two."""
    return round(abs(math.log2((one.characters + 1) / (other.characters + 1))))

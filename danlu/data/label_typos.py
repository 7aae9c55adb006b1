"""Labels that look like typing errors of others: ``pos `` and ``Pos`` beside ``pos``, ``postive`` beside ``positive``.

Case, width, simplified or traditional Chinese, spaces, dashes and marks around it make no label of its own, however
often they occur. A letter or two may, so there the label has to be rare and the words long, or in short ones the keys
beside each other, and neither a number, a code nor an opposite (``misspelt.py``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from danlu.data.deletions import rests_in_common
from danlu.data.example import Place, TaskExample
from danlu.data.found import EXAMPLES, Finding
from danlu.data.labels import label_counts
from danlu.data.misspelt import TWICE, Form, form, is_rare, misspelt
from danlu.errors import shown

ALONE = "differs in case, width, script, spaces or marks alone from"
MAYBE = "may be a misspelling of"


class Typo(NamedTuple):
    """What a label may be a typing error of, and how they differ, in words."""

    of: str
    how: str


def label_typos(splits: Mapping[str, Sequence[TaskExample]], found: Mapping[str, Typo]) -> Iterator[Finding]:
    """The labels that look so, in each split that has them, with the first places of each.

    Args:
        found: what ``typos_of`` says of the same splits.
    """
    counts = {name: label_counts(examples) if found else Counter[str]() for name, examples in splits.items()}
    of_all = sum(counts.values(), Counter[str]())
    where: dict[tuple[str, str], list[Place]] = {}
    for name, examples in splits.items():
        for each in examples if found.keys() & counts[name].keys() else ():
            for label in found.keys() & label_counts([each]).keys():
                where.setdefault((label, name), []).append(each.place)
    for label, (right, how) in found.items():
        for name in (each for each in splits if (label, each) in where):
            count = counts[name][label]
            yield Finding(
                "typo", (name,), count, len(splits[name]),
                f"the label {shown(label)!r} ({count:,}) {how} {shown(right)!r} ({of_all[right]:,})",
                tuple(place.short for place in where[label, name][: EXAMPLES + 1]),
            )  # fmt: skip


def typos_of(splits: Mapping[str, Sequence[TaskExample]]) -> dict[str, Typo]:
    """Those among the labels of all splits together."""
    return typos(sum((label_counts(examples) for examples in splits.values()), Counter()))


def typos(counts: Mapping[str, int]) -> dict[str, Typo]:
    """Those among labels that occur so often, each of a more frequent one; the most frequent first."""
    ordered = sorted(counts, key=lambda label: (-counts[label], label))
    forms = [form(label) for label in ordered]
    same: dict[str, int] = {}
    near = _near(forms, [counts[label] for label in ordered])
    found: dict[str, Typo] = {}
    for place, label in enumerate(ordered):
        alike = same.setdefault(forms[place].folded, place)
        for other in sorted({*near.get(place, ()), alike} - {place}):
            right = ordered[other]
            if other == alike:
                found[label] = Typo(right, ALONE)
                break
            if misspelt(forms[place], forms[other], counts[label], counts[right]):
                found[label] = Typo(right, MAYBE)
                break
    return found


def _near(forms: Sequence[Form], counts: Sequence[int]) -> dict[int, set[int]]:
    """Of each rare label, the earlier ones that an edit or two may part it from."""
    near: dict[int, set[int]] = {}
    looked_at = [place for place, each in enumerate(forms) if not each.number]
    texts, signs = [forms[place].folded for place in looked_at], [forms[place].signs for place in looked_at]
    for group in rests_in_common(texts, signs, twice=TWICE):
        for right, label in combinations([looked_at[place] for place in group], 2):
            if is_rare(counts[label], counts[right]):
                near.setdefault(label, set()).add(right)
    return near


def without_typos(counts: Mapping[str, int], found: Mapping[str, Typo]) -> Counter[str]:
    """How often each label occurs, where those that look like typing errors are what they look like.

    Args:
        found: what ``typos`` says of them, perhaps beside others.
    """
    right: Counter[str] = Counter()
    for label, count in counts.items():
        meant = label
        while meant in found:
            meant = found[meant].of
        right[meant] += count
    return right

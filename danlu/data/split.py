"""Splits, folds and growing parts of examples: by label, by the hash of their text, the same in every run.

What belongs together stays together: duplicates, and questions about one text. Which part an example falls in depends
on the examples and the seed, not on their order in the file.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic

from danlu.data.alike import order, same_text
from danlu.data.example import E, TaskExample
from danlu.errors import InputError

NAMES = {
    "train": "train", "training": "train",
    "dev": "dev", "valid": "dev", "validation": "dev", "val": "dev",
    "test": "test", "testing": "test",
}  # fmt: skip
"""What files call the splits, and what they are called here."""
_BANDS = 10
"""Parts of about equally many numbers, which count as labels do."""


@dataclass(frozen=True, slots=True)
class Fold(Generic[E]):
    """A fold to measure on, and all the others to learn from."""

    train: tuple[E, ...]
    dev: tuple[E, ...]


def split(examples: Sequence[E], shares: Mapping[str, float], *, seed: int = 0) -> dict[str, tuple[E, ...]]:
    """Each part has about its share of every label; examples keep their order.

    Raises:
        InputError: there are too few examples for a part to have one.
    """
    total = sum(shares.values())
    assert total > 0 and min(shares.values()) > 0, shares
    part_of = _deal(examples, [share / total for share in shares.values()], seed)
    parts = {
        name: tuple(example for example, part in zip(examples, part_of, strict=True) if part == number)
        for number, name in enumerate(shares)
    }
    empty = [name for name, part in parts.items() if not part]
    if empty:
        texts = len({same_text(example.group) for example in examples})
        what = f"{len(examples):,} examples of {texts:,} different text{'s' * (texts != 1)}"
        left = f"none is left for {' and '.join(empty)}"
        raise InputError(f"{what} are too few to split into {', '.join(shares)}: {left}")
    return parts


def folds(examples: Sequence[E], count: int, *, seed: int = 0) -> list[Fold[E]]:
    """``count`` folds for cross-validation: each example is measured on once.

    Raises:
        InputError: there are too few examples, or fewer than 2 folds.
    """
    if count < 2:
        raise InputError(f"folds must be at least 2; got {count}")
    parts = split(examples, {f"fold {number}": 1.0 for number in range(1, count + 1)}, seed=seed)
    place_of = {id(example): name for name, part in parts.items() for example in part}
    return [
        Fold(tuple(example for example in examples if place_of[id(example)] != name), part)
        for name, part in parts.items()
    ]


def subset(examples: Sequence[E], share: float, *, seed: int = 0) -> tuple[E, ...]:
    """A part with its share of every label, at least one, for learning curves: larger ones have all of smaller ones."""
    assert 0 < share <= 1, share
    chosen: set[str] = set()
    for groups in _strata(examples, seed).values():
        chosen.update(groups[: math.ceil(share * len(groups) - 1e-9)])
    return tuple(example for example in examples if same_text(example.group) in chosen)


def _deal(examples: Sequence[TaskExample], shares: Sequence[float], seed: int) -> list[int]:
    """The part of each example: groups go, label by label, to the part that lacks most of its share of all so far.

    As a label's groups follow each other, each part has its share of them too. Where one part is the largest, it has
    the first of every label, for what is never learned cannot be measured.
    """
    sizes = Counter(same_text(example.group) for example in examples)
    strata = _strata(examples, seed)
    largest = shares.index(max(shares)) if shares.count(max(shares)) == 1 and len(strata) * 2 <= len(sizes) else None
    part_of: dict[str, int] = {}
    dealt = [0.0] * len(shares)
    for groups in strata.values():
        for place, group in enumerate(groups):
            seen = sum(dealt) + sizes[group]
            lacks = [round(share * seen - has, 9) for share, has in zip(shares, dealt, strict=True)]
            part = largest if largest is not None and place == 0 else lacks.index(max(lacks))
            part_of[group] = part
            dealt[part] += sizes[group]
    return [part_of[same_text(example.group)] for example in examples]


def _strata(examples: Sequence[TaskExample], seed: int) -> dict[str, list[str]]:
    """Groups by their label, the rarest label first, in the order of their hash.

    A group's label is its most frequent one, of several labels the rarest of all; of numbers it is their band.
    """
    names = _label_names(examples)
    by_group: dict[str, Counter[str]] = {}
    for example, name in zip(examples, names, strict=True):
        by_group.setdefault(same_text(example.group), Counter())[name] += 1
    strata: dict[str, list[str]] = {}
    for group, counts in by_group.items():
        strata.setdefault(min(counts, key=lambda name: (-counts[name], name)), []).append(group)
    for groups in strata.values():
        groups.sort(key=lambda group: order(group, seed))
    return dict(sorted(strata.items(), key=lambda item: (len(item[1]), item[0])))


def _label_names(examples: Sequence[TaskExample]) -> list[str]:
    """What each example counts as."""
    counts = Counter(label for example in examples for label in set(example.labels))
    numbers = sorted(example.gold for example in examples if isinstance(example.gold, float))
    borders = [numbers[len(numbers) * band // _BANDS] for band in range(1, _BANDS)] if numbers else []
    names = []
    for example in examples:
        if isinstance(example.gold, float):
            names.append(str(sum(example.gold >= border for border in borders)))
        else:
            names.append(min(set(example.labels), key=lambda label: (counts[label], label), default=""))
    return names

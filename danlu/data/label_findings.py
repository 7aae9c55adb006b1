"""What may be wrong with labels: misspelt ones, rare ones, and texts that say their own."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from danlu.data.delimited import is_number
from danlu.data.example import TaskExample
from danlu.data.found import Finding
from danlu.data.labelled import Labelled
from danlu.data.tagged import Tagged
from danlu.errors import shown

RARE = 5
"""Examples of a label below which it is rare."""
UNEVEN = 10
"""How many times as frequent one label has to be as another."""
_TYPO_SHARE = 0.1
"""Share of the right label's examples that a misspelt one has at most."""
_TYPO_ONCE = 2
"""Examples of the right label above which a single misspelt one will do, however small the share."""
_TYPO_LENGTH = 4
_TOLD = 0.8
"""Share of the texts that say their label, from which it is no chance."""
_LABELS_SHOWN = 8


def label_counts(examples: Sequence[TaskExample]) -> Counter[str]:
    """How many examples each label has; of tags of entities, how many entities each type has."""
    counts: Counter[str] = Counter()
    for example in examples:
        counts.update(_entity_types(example) if isinstance(example, Tagged) else example.labels)
    return counts


def _entity_types(example: Tagged) -> Iterator[str]:
    before = "O"
    for tag in example.tags or ():
        place, dash, kind = tag.partition("-")
        if not dash and tag != "O":
            yield tag
        elif dash and (place in "BSU" or (place == "I" and before.partition("-")[2] != kind)):
            yield kind
        before = tag


def label_typos(split: str, examples: Sequence[TaskExample]) -> Iterator[Finding]:
    """Labels that differ from a more frequent one in case, width and spaces, or, if rare, in a letter or two."""
    counts = label_counts(examples)
    ordered = sorted(counts, key=lambda label: (-counts[label], label))
    for place, other in enumerate(ordered):
        one, how = next(((one, how) for one in ordered[:place] if (how := _misspelt(one, other, counts))), ("", ""))
        if how:
            first = next(each for each in examples if other in label_counts([each]))
            yield Finding(
                "typo", (split,), counts[other], len(examples),
                f"the label {shown(other)!r} ({counts[other]:,}) {how} {shown(one)!r} ({counts[one]:,})",
                (f"{first.place.short}",),
            )  # fmt: skip


def _misspelt(one: str, other: str, counts: Mapping[str, int]) -> str:
    """How the rarer label relates to the other, in words; nothing where they are two labels."""
    if _folded(one) == _folded(other):
        return "differs in case, width, spaces or dashes alone from"
    if is_number(one) or is_number(other) or min(len(one), len(other)) < _TYPO_LENGTH:
        return ""
    once = counts[other] == 1 and counts[one] > _TYPO_ONCE
    if _digits(one) != _digits(other) or not (once or counts[other] <= _TYPO_SHARE * counts[one]):
        return ""
    most = 1 if min(len(one), len(other)) < 2 * _TYPO_LENGTH else 2
    return "may be a misspelling of" if edits(_folded(one), _folded(other), most) <= most else ""


def _folded(label: str) -> str:
    text = unicodedata.normalize("NFKC", label).casefold().strip()
    return text if is_number(text) else re.sub(r"[\s_-]+", "", text) or text


def _digits(label: str) -> str:
    return "".join(letter for letter in label if letter.isdigit())


def edits(one: str, other: str, most: int) -> int:
    """How many letters must be put in, left out, exchanged or swapped with their neighbour; ``most + 1`` if more.

    The optimal string alignment of Damerau (1964).
    """
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    above = list(range(len(other) + 1))
    for row, letter in enumerate(one, 1):
        here = [row]
        for column, another in enumerate(other, 1):
            cost = min(above[column] + 1, here[-1] + 1, above[column - 1] + (letter != another))
            swapped = row > 1 and column > 1 and letter == other[column - 2] and one[row - 2] == another
            here.append(min(cost, before[column - 2] + 1) if swapped else cost)
        before, above = above, here
    return min(above[-1], most + 1)


def imbalance(split: str, examples: Sequence[TaskExample]) -> Iterator[Finding]:
    """Labels with few examples, and the most frequent one beside the rarest where they are far apart."""
    counts = label_counts(examples)
    if len(counts) < 2:
        return
    ordered = sorted(counts.items(), key=lambda item: (item[1], item[0]))
    rare = [f"{shown(label)!r} {count}" for label, count in ordered if count < RARE]
    if rare:
        listed = ", ".join(rare[:_LABELS_SHOWN]) + (", …" if len(rare) > _LABELS_SHOWN else "")
        have = "has" if len(rare) == 1 else "have"
        what = f"{len(rare):,} of {len(counts):,} labels {have} fewer than {RARE} examples"
        yield Finding("rare", (split,), len(rare), len(counts), f"{what}: {listed}")
    (few, least), (many, most) = ordered[0], ordered[-1]
    if most >= UNEVEN * least:
        shares = f"{shown(many)!r} {most:,} ({most / counts.total():.0%}), {shown(few)!r} {least:,}"
        what = f"labels are uneven, the most frequent has {most / least:.0f} times the examples of the rarest: {shares}"
        yield Finding("imbalance", (split,), most, counts.total(), f"{what}; class weights may help")


def never_learned(split: str, examples: Sequence[TaskExample], labels: Sequence[str]) -> Iterator[Finding]:
    """Labels that the recipe names and training has no example of."""
    there = {label for each in examples for label in each.labels}
    absent = [label for label in labels if label not in there]
    if absent and not isinstance(examples[0], Tagged):  # whose schemes allow tags that no text needs
        listed = _listed(absent)
        have = "has" if len(absent) == 1 else "have"
        what = f"{len(absent):,} of {len(labels):,} labels {have} no example here and cannot be learned: {listed}"
        yield Finding("missing_label", (split,), len(absent), len(labels), what)


def missing_labels(splits: Mapping[str, Sequence[TaskExample]]) -> Iterator[Finding]:
    """Labels of training that a later split never has, so that no figure tells how well they are learned."""
    names = list(splits)
    there = label_counts(splits[names[0]])
    for name in names[1:]:
        absent = sorted(set(there) - set(label_counts(splits[name])))
        if absent and len(absent) < len(there):
            listed = _listed(absent)
            what = f"{len(absent):,} of {len(there):,} labels never occur here and are not measured: {listed}"
            yield Finding("missing_label", (names[0], name), len(absent), len(there), what)


def _listed(labels: Sequence[str]) -> str:
    return ", ".join(shown(repr(label)) for label in labels[:_LABELS_SHOWN]) + ", …" * (len(labels) > _LABELS_SHOWN)


def told_by_the_text(split: str, examples: Sequence[TaskExample]) -> Iterator[Finding]:
    """Texts that say their own label, as those do that a column was written into by mistake."""
    labels = {each.label for each in examples if isinstance(each, Labelled) and each.label}
    if len(labels) < 2 or any(is_number(label) or len(label) < 2 for label in labels):
        return
    words = {label: re.compile(rf"(?<!\w){re.escape(label.casefold())}(?!\w)") for label in labels}
    telling = [
        each for each in examples
        if isinstance(each, Labelled) and each.label and words[each.label].search(" ".join(each.texts).casefold())
    ]  # fmt: skip
    if len(telling) >= _TOLD * len(examples):
        what = f"{len(telling):,} of {len(examples):,} texts say their own label; a model would learn to copy it"
        named = tuple(f"{shown(each.texts[0])!r} is {each.label!r} ({each.place.short})" for each in telling[:4])
        yield Finding("told", (split,), len(telling), len(examples), what, named)

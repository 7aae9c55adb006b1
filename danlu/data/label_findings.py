"""What may be wrong with labels: rare ones, uneven ones, missing ones, and texts that say their own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from danlu.data.delimited import is_number
from danlu.data.example import TaskExample
from danlu.data.found import EXAMPLES, Finding
from danlu.data.label_typos import Typo, without_typos
from danlu.data.labelled import Labelled
from danlu.data.labels import label_counts
from danlu.data.tagged import Tagged
from danlu.errors import shown

RARE = 5
"""Examples of a label below which it is rare."""
UNEVEN = 10
"""How many times as frequent one label has to be as another."""
_TOLD = 0.8
"""Share of the texts that say their label, from which it is no chance."""
_LABELS_SHOWN = 8
_NO_LABELS = frozenset({"-", "--", "?", "n/a", "#n/a", "nan", "<na>", "null", "未标注", "无标签", "待标注"})


def imbalance(split: str, examples: Sequence[TaskExample], typos: Mapping[str, Typo]) -> Iterator[Finding]:
    """Labels with few examples, and the most frequent one beside the rarest where they are far apart.

    A typing error counts as what it is one of, and what says that there is no label as none.
    """
    counts = without_typos(label_counts(examples), typos)
    for label in [each for each in counts if _says_none(each)]:
        del counts[label]
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


def placeholders(split: str, examples: Sequence[TaskExample]) -> Iterator[Finding]:
    """Labels that only say that there is none, as pandas and people without agreement write them."""
    if not examples or isinstance(examples[0], Tagged):
        return
    for label, count in label_counts(examples).items():
        if _says_none(label):
            places = tuple(each.place.short for each in examples if label in each.labels)
            what = f"the label {label!r} ({count:,}) may mean that there is none (data: {{leave_out: [{label!r}]}})"
            yield Finding("placeholder", (split,), count, len(examples), what, places[: EXAMPLES + 1])


def _says_none(label: str) -> bool:
    return label.strip().casefold() in _NO_LABELS


def never_learned(split: str, examples: Sequence[TaskExample], labels: Sequence[str]) -> Iterator[Finding]:
    """Labels that the recipe names and training has no example of."""
    there = {label for each in examples for label in each.labels}
    absent = [label for label in labels if label not in there]
    if absent and not isinstance(examples[0], Tagged):  # whose schemes allow tags that no text needs
        listed = _listed(absent)
        have = "has" if len(absent) == 1 else "have"
        what = f"{len(absent):,} of {len(labels):,} labels {have} no example here and cannot be learned: {listed}"
        yield Finding("missing_label", (split,), len(absent), len(labels), what)


def missing_labels(splits: Mapping[str, Sequence[TaskExample]], typos: Mapping[str, Typo]) -> Iterator[Finding]:
    """Labels of training that a later split never has, so that no figure tells how well they are learned."""
    names = list(splits)
    there = without_typos(label_counts(splits[names[0]]), typos)
    for name in names[1:]:
        absent = sorted(set(there) - set(without_typos(label_counts(splits[name]), typos)))
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

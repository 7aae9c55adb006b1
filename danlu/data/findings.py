"""What may be wrong with data that can be read: looked for before training, reported, and never fatal.

Texts are the same where they differ in case, width, script, spaces and punctuation alone (``alike.py``), and almost
the same as ``near.py`` says. Of two splits the later one is spoilt: what it measures was learned by heart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from danlu.data.alike import same_text, same_texts
from danlu.data.chosen import MultipleChoice
from danlu.data.contained import contained
from danlu.data.entity_findings import odd_entities
from danlu.data.example import TaskExample
from danlu.data.extracted import Question
from danlu.data.found import Finding, quoted, share_of
from danlu.data.label_findings import (
    imbalance,
    missing_labels,
    never_learned,
    placeholders,
    told_by_the_text,
)
from danlu.data.label_typos import label_typos, typos_of
from danlu.data.labelled import Labelled, MultiLabelled, Scored
from danlu.data.near import NEAR, near_pairs
from danlu.data.number_findings import odd_numbers
from danlu.data.preferred import turned_preferences
from danlu.data.tag_findings import odd_tags
from danlu.data.tagged import Tagged
from danlu.data.telling_words import telling_words
from danlu.errors import shown

Splits = Mapping[str, Sequence[TaskExample]]
Key = tuple[str, ...]
_GROUP_LENGTH = 20
"""Characters of a shared context or prompt below which it may be chance."""
_NAMED = 4


def look(splits: Splits, *, labels: Sequence[str] = (), near: float | None = NEAR) -> list[Finding]:
    """Everything that there is to say of the splits, in the order train, dev, test; leaks come first.

    Args:
        labels: those that the recipe says there are.
        near: the Jaccard index from which texts are almost the same; None does not look for those.
    """
    keys = {name: [_key(each) for each in examples] for name, examples in splits.items()}
    train = next(iter(splits))
    found: list[Finding] = []
    for first, later in combinations(splits, 2):
        found += _duplicates(splits, keys, first, later)
        found += _shared_groups(splits, keys, first, later)
    found += _conflicts(splits, keys)
    found += turned_preferences(splits)
    if near is not None:
        found += _near(splits, keys, near)
        for first, later in combinations(splits, 2):
            found += contained(splits, keys, first, later)
    for name, examples in splits.items():
        found += _repeated(name, examples, keys[name])
    typos = typos_of(splits)
    found += label_typos(splits, typos)
    for name, examples in splits.items():
        found += placeholders(name, examples)
    found += imbalance(train, splits[train], typos)
    found += never_learned(train, splits[train], labels)
    found += missing_labels(splits, typos)
    found += odd_numbers(splits)
    found += odd_entities(splits)
    found += odd_tags(splits)
    told = list(told_by_the_text(train, splits[train]))
    found += told or telling_words(train, splits[train])
    return found


def _key(example: TaskExample) -> Key:
    """What examples of the same texts have in common; in which order a question has its choices says nothing."""
    texts = same_texts(example.texts)
    if not isinstance(example, MultipleChoice):
        return texts
    asked = len(texts) - len(example.choices)
    return *texts[:asked], *sorted(texts[asked:])


def lines(findings: Sequence[Finding]) -> list[str]:
    """A line each, and one where there is nothing to say."""
    return [str(each) for each in findings] or ["no duplicates, leaks or odd labels found"]


def _duplicates(splits: Splits, keys: Mapping[str, Sequence[Key]], first: str, later: str) -> Iterator[Finding]:
    """Examples of the later split whose texts the first has too."""
    there: dict[Key, TaskExample] = {}
    for key, example in zip(keys[first], splits[first], strict=True):
        there.setdefault(key, example)
    exact = {example.texts for example in splits[first]}
    ordered = {same_texts(example.texts) for example in splits[first] if isinstance(example, MultipleChoice)}
    pairs, turned, shuffled = [], 0, 0
    for key, example in zip(keys[later], splits[later], strict=True):
        other = there.get(key)
        if other is None and len(key) == 2 and isinstance(example, Labelled | Scored):
            other = there.get(key[::-1])
            turned += other is not None
        if other is not None:
            pairs.append((example, other))
            shuffled += isinstance(example, MultipleChoice) and same_texts(example.texts) not in ordered
    if not pairs:
        return
    alike = sum(example.texts not in exact for example, _ in pairs) - turned - shuffled
    how = {
        "but for case, script, spaces or punctuation": alike, "with their two texts turned round": turned,
        "with their choices in another order": shuffled,
    }  # fmt: skip
    but = "".join(f" ({count:,} of them {words})" for words, count in how.items() if count)
    what = f"{share_of(len(pairs), len(splits[later]))} are in {first} too{but}"
    named = tuple(f"{quoted(example)} is {other.place.short}" for example, other in pairs[:_NAMED])
    yield Finding("duplicate", (first, later), len(pairs), len(splits[later]), what, named)


def _shared_groups(splits: Splits, keys: Mapping[str, Sequence[Key]], first: str, later: str) -> Iterator[Finding]:
    """Examples about a context, or with a prompt, that the first split has too, though they are no duplicates."""
    seen, groups = set(keys[first]), {same_text(example.group) for example in splits[first]}
    pairs = [
        example for key, example in zip(keys[later], splits[later], strict=True)
        if key not in seen and example.group != "\n".join(example.texts)
        and len(example.group) >= _GROUP_LENGTH and same_text(example.group) in groups
    ]  # fmt: skip
    if pairs:
        what = f"{share_of(len(pairs), len(splits[later]))} have their context or prompt in common with {first}"
        yield Finding("shared_group", (first, later), len(pairs), len(splits[later]), what,
                      tuple(map(quoted, pairs[:_NAMED])))  # fmt: skip


def _repeated(name: str, examples: Sequence[TaskExample], keys: Sequence[Key]) -> Iterator[Finding]:
    """Examples that a split has more than once."""
    first: dict[Key, TaskExample] = {}
    again = []
    for key, example in zip(keys, examples, strict=True):
        other = first.setdefault(key, example)
        if other is not example:
            again.append((example, other))
    if again:
        what = f"{share_of(len(again), len(examples))} repeat one before them"
        named = tuple(f"{quoted(example)} is {other.place.short}" for example, other in again[:_NAMED])
        yield Finding("repeated", (name,), len(again), len(examples), what, named)


def _conflicts(splits: Splits, keys: Mapping[str, Sequence[Key]]) -> Iterator[Finding]:
    """Texts that have two labels, within a split or between two: at least one of them is wrong; and questions that
    have answers here and others there."""
    first: dict[Key, tuple[str, TaskExample]] = {}
    found: dict[tuple[str, ...], list[str]] = {}
    counted: dict[tuple[str, ...], set[Key]] = {}
    for name, examples in splits.items():
        for key, example in zip(keys[name], examples, strict=True):
            if not (_has_one_answer(example) or isinstance(example, Question)):
                continue
            earlier, other = first.setdefault(key, (name, example))
            if disagree(example, other) or _answered_otherwise(example, other):
                where = tuple(dict.fromkeys((earlier, name)))
                if key not in counted.setdefault(where, set()):
                    found.setdefault(where, []).append(_two_labels(example, other))
                counted[where].add(key)
    for where, named in found.items():
        texts = "text has" if len(named) == 1 else "texts have"
        said = "answer" if isinstance(splits[where[-1]][0], Question) else "label"
        across = f" in {where[0]}" if len(where) > 1 else ""
        what = f"{len(named):,} {texts} another {said}{across} where it stands again"
        yield Finding("conflict", where, len(named), len(splits[where[-1]]), what, tuple(named[:_NAMED]))


def _near(splits: Splits, keys: Mapping[str, Sequence[Key]], share: float) -> Iterator[Finding]:
    """Texts that are almost those of an earlier split, or of their own split with another label."""
    unique: dict[Key, tuple[str, TaskExample]] = {}
    for name, examples in splits.items():
        for key, example in zip(keys[name], examples, strict=True):
            unique.setdefault(key, (name, example))  # what is in two splits was found already
    items = list(unique.values())

    def kind(later: int, earlier: int) -> str | None:
        if items[later][0] != items[earlier][0]:
            return items[earlier][0]
        return "conflict" if disagree(items[later][1], items[earlier][1]) else None

    leaks: dict[tuple[str, str], list[str]] = {}
    conflicts: dict[str, list[str]] = {}
    for later, earlier, asked in near_pairs(list(unique), kind, share=share):
        (name, example), (first, other) = items[later], items[earlier]
        if asked == "conflict":
            conflicts.setdefault(name, []).append(_two_labels(example, other))
        else:
            leaks.setdefault((first, name), []).append(f"{quoted(example)} is almost {quoted(other)}")
    for (first, name), named in leaks.items():
        what = f"{share_of(len(named), len(splits[name]))} are almost the same as one of {first}"
        yield Finding("near_duplicate", (first, name), len(named), len(splits[name]), what, tuple(named[:_NAMED]))
    for name, named in conflicts.items():
        what = f"{share_of(len(named), len(splits[name]))} are almost the same as one with another label"
        yield Finding("near_conflict", (name,), len(named), len(splits[name]), what, tuple(named[:_NAMED]))


def disagree(one: TaskExample, other: TaskExample) -> bool:
    """Whether two examples of the same texts are said to be two things, of which one can be right."""
    if not (_has_one_answer(one) and _has_one_answer(other)):
        return False
    if isinstance(one, MultipleChoice) and isinstance(other, MultipleChoice):
        if one.choices == other.choices:  # -1 and 1 are the same text, and two choices
            return one.answer != other.answer
        return same_text(one.right or "") != same_text(other.right or "")  # wherever it stands among the others
    first, second = one.gold, other.gold
    if isinstance(one, Tagged):  # tokens that were cut otherwise have other tags
        return len(first) == len(second) and first != second
    return set(first) != set(second) if isinstance(first, tuple) else bool(first != second)


def _answered_otherwise(one: TaskExample, other: TaskExample) -> bool:
    """Whether two questions that are the same have no answer in common."""
    if not (isinstance(one, Question) and isinstance(other, Question)) or None in (one.gold, other.gold):
        return False
    first, second = ({same_text(answer) for answer in each.gold or ()} for each in (one, other))
    return first.isdisjoint(second) and first != second


def _has_one_answer(example: TaskExample) -> bool:
    return bool(example.labels) or (isinstance(example, MultipleChoice | MultiLabelled) and example.gold is not None)


def _two_labels(example: TaskExample, other: TaskExample) -> str:
    return f"{quoted(example)} is {_said(example)}, but {_said(other)} in {other.place.short}"


def _said(example: TaskExample) -> str:
    nothing = ("no answer" if isinstance(example, Question) else "no label",)
    gold: Any = example.right if isinstance(example, MultipleChoice) else example.gold or nothing
    return shown(repr(gold) if isinstance(gold, str) else " ".join(", ".join(map(str, gold)).split()))

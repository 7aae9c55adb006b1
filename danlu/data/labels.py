"""The labels of a task in an order that stays, and the refusal of those that a model could never have learned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from danlu.data.example import E, TaskExample
from danlu.data.form import Mended
from danlu.data.tagged import Tagged
from danlu.data.tags import Scheme, find_scheme, tag_set
from danlu.errors import InputError, did_you_mean, shown, suggestion

_MOST_LISTED = 20


def scheme_of(splits: Mapping[str, Sequence[TaskExample]]) -> Scheme:
    """The scheme of the tags of all splits together; ``none`` where there are no tags of entities."""
    tags = [each.tags for split in splits.values() for each in split if isinstance(each, Tagged) and each.tags]
    return find_scheme(tags) if tags else "none"


def label_set(train: Sequence[TaskExample], *, scheme: Scheme = "none") -> tuple[str, ...]:
    """The labels of the training examples: whole numbers by size, else sorted; tags with ``O`` first.

    Tags of entities are all that the scheme allows of the types there are. None where the form has no labels.

    Raises:
        InputError: there is one label alone, from which nothing can be learned.
    """
    counts = Counter(label for example in train for label in example.labels)
    if not counts:
        return ()
    tagged = isinstance(train[0], Tagged)
    if len(counts) == 1 and (tagged or all(len(example.labels) == 1 for example in train)):
        ((label, count),) = counts.items()
        what = "tag" if tagged else "label"
        all_are = f"all {count:,} {what}s are" if count > 1 else f"the only {what} is"
        raise InputError(f"{train[0].place.file}: {all_are} {shown(label)!r}; there must be at least 2")
    if tagged:
        return tag_set([example.labels for example in train], scheme)
    return tuple(sorted(counts, key=_order))


def check_known(examples: Sequence[E], labels: Sequence[str], *, source: str, mended: Mended | None) -> Sequence[E]:
    """Refuse a label that is not among ``labels``; where it may mend, leave its examples out.

    Args:
        source: what ``labels`` are of, for the error: ``train.csv``.

    Raises:
        InputError: the first such label, its line, and what was perhaps meant.
    """
    known, kept = set(labels), []
    for example in examples:
        place, label = next(((at, each) for at, each in enumerate(example.labels) if each not in known), (0, None))
        if label is None:
            kept.append(example)
        elif mended is not None:
            mended.add(f"label that does not occur in {source}, left out", example.place)
        else:
            near = suggestion(label, labels) if len(labels) <= _MOST_LISTED else did_you_mean(label, labels)
            what = "tag" if isinstance(example, Tagged) else "label"
            reason = f"the {what} {shown(label)!r} does not occur in {source}, so that no model can learn it{near}"
            raise example.error(place, reason) if isinstance(example, Tagged) else example.place.error(reason)
    return kept


def _order(label: str) -> tuple[int, int, str]:
    try:
        return 0, int(label), label
    except ValueError:
        return 1, 0, label


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

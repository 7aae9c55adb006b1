"""Leaks between tasks that one model learns together: what one of them is measured on, another may learn from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations

from danlu.data.alike import same_texts
from danlu.data.example import TaskExample
from danlu.data.found import Finding, quoted, share_of
from danlu.data.generated import Generated

Splits = Mapping[str, Sequence[TaskExample]]
Key = tuple[str, ...]
_LENGTH = 20
"""Letters of an answer below which it may be another text's by chance."""
_NAMED = 4


def across(tasks: Mapping[str, Splits]) -> Iterator[tuple[str, Finding]]:
    """Texts of dev and test that are in the train of another task, also as what is written there, each with the name of
    the task that is measured on them.

    Args:
        tasks: by name, the splits of each, of which the first is train.
    """
    learned = {name: _learned(next(iter(splits.values()))) for name, splits in tasks.items()}
    for other, name in permutations(tasks, 2):
        for split, examples in list(tasks[name].items())[1:]:
            pairs = [(each, there) for each in examples if (there := learned[other].get(same_texts(each.texts)))]
            if pairs:
                what = f"{share_of(len(pairs), len(examples))} are in train of the task {other}"
                if all(each.place.file == there.place.file for each, there in pairs):
                    what += ", whose split of the same file is another one; a split_column, or files, make them one"
                named = tuple(f"{quoted(each)} is {there.place.short}" for each, there in pairs[:_NAMED])
                where = (f"{other}.train", f"{name}.{split}")
                yield name, Finding("duplicate", where, len(pairs), len(examples), what, named)


def _learned(examples: Sequence[TaskExample]) -> dict[Key, TaskExample]:
    """The first example of each text that is read or written in training."""
    found: dict[Key, TaskExample] = {}
    for example in examples:
        found.setdefault(same_texts(example.texts), example)
        if isinstance(example, Generated):
            for key in map(same_texts, ((text,) for text in example.references or ())):
                if len(key[0]) >= _LENGTH:
                    found.setdefault(key, example)
    return found

"""Tasks that one model learns together: one split of a file that several read, and leaks between them, for what one of
them is measured on, another may learn from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from typing import Any

from danlu.data.alike import same_texts
from danlu.data.dataset import Data, Dataset
from danlu.data.example import TaskExample
from danlu.data.found import Finding, quoted, share_of
from danlu.data.generated import Generated

Splits = Mapping[str, Sequence[TaskExample]]
Key = tuple[str, ...]
SPLIT_SAID = " examples split by label and the hash of their text: "
"""In the line about a split that is told no more."""
_LENGTH = 20
"""Letters of an answer below which it may be another text's by chance."""
_NAMED = 4


def split_alike(datasets: Mapping[str, Dataset[Any]], settings: Mapping[str, Data]) -> dict[str, Dataset[Any]]:
    """The data of tasks, in which a file that several of them split by themselves is split as the first of these does.

    Each would split it by labels of its own, and nearly all that one is measured on would be learned by another.

    Args:
        settings: of each task; a task whose files, shares or seed are others keeps its split.
    """
    first: dict[Any, str] = {}
    found = dict(datasets)
    for name, data in settings.items():
        if data.dev or data.test or data.split_column:
            continue
        leader = first.setdefault((data.train.resolve(), data.dev_share, data.test_share, data.seed), name)
        if leader != name:
            found[name] = _split_as(datasets[name], datasets[leader], leader)
    return found


def _split_as(dataset: Dataset[Any], other: Dataset[Any], name: str) -> Dataset[Any]:
    """The data with each row in the split where ``other`` has it; as they are, where that leaves a split empty."""
    place_of = {each.place.number: split for split, examples in other.splits.items() for each in examples}
    examples = sorted((each for split in dataset.splits.values() for each in split), key=lambda each: each.place.number)
    parts = {
        split: tuple(each for each in examples if place_of.get(each.place.number, "train") == split)
        for split in dataset.splits
    }
    if not all(parts.values()):
        return dataset
    sizes = ", ".join(f"{len(part):,} {split}" for split, part in parts.items())
    said = [line for line in dataset.said if SPLIT_SAID not in line]
    line = f"split as for the task {name}, which reads the same file: {sizes}"
    return replace(dataset, splits=parts, said=(*said, line))


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

"""What a model's folder says of its task, in ``danlu.json`` beside the files of ``transformers``.

A folder of others has no such file; where its class is one of sequences, tokens or answers, its labels say enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from danlu.data.columns import by_names
from danlu.data.conventions import NOTHING_KNOWN, Conventions
from danlu.data.dataset import Data
from danlu.data.labelled import CLASSIFY, PAIR
from danlu.data.names import plain_name
from danlu.data.read import read_rows
from danlu.data.rows import Table
from danlu.data.tags import find_scheme, read_tag
from danlu.errors import CheckpointError, InputError
from danlu.files import read_json, write_json
from danlu.nn.config import Labels
from danlu.nn.hf.folder import load_config
from danlu.recipe import build, build_choice, plain
from danlu.tasks.task import Known, Task

FILE = "danlu.json"
LONGEST_ANSWER = 200
"""Characters of an answer that a model of others gives."""
OF_PAIRS = {"classify": "pair", "regress": "similarity"}
"""What a task is called that reads two texts in place of one; the models are the same."""
BESIDE_TEXT = "text_pair"
"""What the second text is called beside the first one, whatever that is, as in the pipelines of ``transformers``."""


@dataclass(frozen=True)
class Trained:
    """How a model was trained for a task, as far as using it needs."""

    task: Task
    known: Known
    max_tokens: int
    data: Data
    """How the files were read."""
    columns: Mapping[str, str]
    """The column of each field."""
    conventions: Conventions = NOTHING_KNOWN
    """How the files were read where they could have been otherwise."""

    def save(self, folder: Path) -> None:
        """Write ``danlu.json``."""
        write_json(folder / FILE, {
            "task": self.task.to_recipe(), "known": asdict(self.known), "max_tokens": self.max_tokens,
            "data": {name: value for name, value in plain(self.data).items() if name not in ("train", "dev", "test")},
            "columns": dict(self.columns), "conventions": asdict(self.conventions),
        })  # fmt: skip

    @classmethod
    def load(cls, folder: Path) -> Trained:
        """What is known of the model in ``folder``.

        Raises:
            InputError: the model there is for no task.
            CheckpointError: the file is damaged.
        """
        path = folder / FILE
        if not path.exists():
            return _of_others(folder)
        said = read_json(path)
        if said is None:
            raise CheckpointError(f"{path} is damaged: it is no whole JSON object")
        try:
            known = said["known"]
            return cls(
                build_choice("task", said["task"], key="task"),
                Known(**{**known, "labels": tuple(known["labels"]), "strangers": tuple(known.get("strangers", ()))}),
                int(said["max_tokens"]),
                build(Data, {"train": "-", **said["data"]}, key="data"), said["columns"],
                Conventions.of(said["conventions"]) if "conventions" in said else NOTHING_KNOWN,
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path} is damaged: {error!r}") from None


def load_for(folder: Path, file: Path, columns: Mapping[str, str | int]) -> Trained:
    """What is known of the model in ``folder``, to answer the examples of ``file``.

    The folder of a classifier of others does not say whether it reads texts or pairs of them, as one of inference does:
    that is told by the columns.

    Args:
        columns: those that were named, by field.

    Raises:
        InputError, CheckpointError: as :meth:`Trained.load`; or the file cannot be read.
    """
    trained = Trained.load(folder)
    pairs = for_pairs(folder, trained)
    if pairs is None or "text" in columns:
        return trained
    if {"first", "second"} & columns.keys():
        return pairs
    sides = columns_of_pairs(read_rows(file))
    return trained if sides is None else replace(pairs, columns=sides)


def for_pairs(folder: Path, trained: Trained) -> Trained | None:
    """The same model as one of pairs of texts; None where its folder says what it reads, or it scores no texts."""
    other = OF_PAIRS.get(str(trained.task.to_recipe()["use"]))
    if other is None or (folder / FILE).exists():
        return None
    return replace(trained, task=build_choice("task", {"use": other}, key="task"))


def columns_of_pairs(table: Table) -> dict[str, str] | None:
    """The columns of two texts, first and second, where their names tell both."""
    found = by_names(table, [each for each in PAIR.fields if not each.gold])
    if len(found) == 2:
        return found
    called = {plain_name(column): column for column in table.columns} if table.named else {}
    first = by_names(table, [each for each in CLASSIFY.fields if not each.gold])
    return {"first": first["text"], "second": called[BESIDE_TEXT]} if first and BESIDE_TEXT in called else None


def _of_others(folder: Path) -> Trained:
    config = load_config(folder)
    head = config.head
    if not isinstance(head, Labels) or head.pair:
        raise InputError(
            f"the model in {folder} ({config.family} with {type(head).__name__}) was trained for no task that is known "
            f"here; 'danlu finetune' makes one of it"
        )
    said = read_json(folder / "config.json") or {}
    names = said.get("id2label") or {}
    labels = tuple(str(names.get(str(place), f"LABEL_{place}")) for place in range(head.count))
    if head.span:
        task, known = "extract", Known(numbers={"longest": float(LONGEST_ANSWER)}, metric="squad")
    elif head.pooling is None:
        scheme = find_scheme([labels])
        task, known = "tag", Known(labels, scheme if all(read_tag(label, scheme) for label in labels) else "none")
    elif head.choice:
        task, known = "choice", Known()
    elif head.count == 1:
        task, known = "regress", Known(labels, numbers={"mean": 0.0, "spread": 1.0})
    elif said.get("problem_type") == "multi_label_classification":
        task, known = "multi_label", Known(labels)
    else:
        task, known = "classify", Known(labels)
    return Trained(
        build_choice("task", {"use": task}, key="task"), known, min(config.max_length, 512),
        build(Data, {"train": "-"}, key="data"), {},
    )  # fmt: skip


def describe(trained: Trained) -> str:
    """In words, for the screen."""
    name = str(trained.task.to_recipe()["use"]).rpartition(":")[2]  # of what no recipe names, its class
    few = ", ".join(trained.known.labels[:8]) + (", …" if len(trained.known.labels) > 8 else "")
    return f"{name}: {few}" if few else name

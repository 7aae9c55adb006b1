"""The examples of a task: read, checked, and looked through for what may be wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from danlu.data.across import across
from danlu.data.dataset import Data, Dataset, load
from danlu.data.findings import lines, look
from danlu.data.found import Finding
from danlu.files import read_json, write_json
from danlu.log import say
from danlu.parallel.joining import here
from danlu.tasks.task import Task

FILE = "data.json"
"""What was read, and what may be wrong with it."""


def read_data(data: Data, task: Task, out: Path) -> Dataset[Any]:
    """The examples of a task; what was read and what may be wrong with it is told, and written as ``data.json``.

    Raises:
        InputError: a file is no file of the task: file, line and reason.
    """
    dataset = load_for(task, data)
    tell(dataset, out)
    return dataset


def tell(dataset: Dataset[Any], out: Path) -> None:
    """Say what was read and what may be wrong with it, and write it as ``data.json``."""
    for line in (*dataset.said, *lines(find_and_write(dataset, out))):
        say(line)


def tell_across(datasets: Mapping[str, Dataset[Any]], out: Path) -> None:
    """Look for what one of several tasks is measured on and another learns from; tell it, and write it to the
    ``data.json`` of the former, which is in a folder of ``out`` with its name."""
    for name, finding in across({name: dataset.splits for name, dataset in datasets.items()}):
        say(str(finding))
        if here().first:
            record = read_json(out / name / FILE)
            assert record is not None, "written when the examples were read"
            write_json(out / name / FILE, {**record, "findings": [asdict(finding), *record["findings"]]})


def load_for(task: Task, data: Data) -> Dataset[Any]:
    """The examples of a task, as it takes them.

    Raises:
        InputError: a file is no file of the task: file, line and reason.
    """
    dataset = load(data, task.form)
    return task.takes(dataset, dataset.scheme)


def find_and_write(dataset: Dataset[Any], out: Path) -> list[Finding]:
    """Look for what may be wrong with the data, and write it to ``data.json`` with what was read."""
    findings = look(dataset.splits, labels=dataset.labels)
    if here().first:
        write_json(out / FILE, {
            "said": list(dataset.said), "columns": dataset.columns, "labels": list(dataset.labels),
            "examples": {name: len(each) for name, each in dataset.splits.items()},
            "findings": [asdict(each) for each in findings],
        })  # fmt: skip
    return findings

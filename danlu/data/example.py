"""What an example of a task is: the texts that a model reads, what is right, and where it stands in its file.

A form (``labelled.py``, ``tagged.py``, …) has one frozen :class:`Record` each, all of which are a :class:`TaskExample`.
What ``gold`` is goes as it is into the metric of the form: a label, tags, answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from danlu.errors import InputError


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands: ``data.csv, line 7``; of parquet it is a row."""

    file: Path
    number: int
    unit: str = "line"

    def __str__(self) -> str:
        return f"{self.file}, {self.unit} {self.number}"

    @property
    def short(self) -> str:
        """Without the folders: ``data.csv, line 7``."""
        return f"{self.file.name}, {self.unit} {self.number}"

    def error(self, reason: str) -> InputError:
        """The error that names this place."""
        return InputError(f"{self}: {reason}")


class TaskExample(Protocol):
    """An example of any form."""

    @property
    def place(self) -> Place: ...

    @property
    def texts(self) -> tuple[str, ...]:
        """What a model reads, in order; examples of the same texts are duplicates of each other."""
        ...

    @property
    def group(self) -> str:
        """What has to stay on one side of a split: the texts, or of a question the text that it is about."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """Those of its labels that are of a closed set; none where the form has no such set."""
        ...

    @property
    def gold(self) -> Any:
        """What is right, as the metric takes it; None where the file did not say."""
        ...


E = TypeVar("E", bound=TaskExample)


@dataclass(frozen=True, slots=True)
class Record:
    """What the records of all forms have: where a form says nothing else, all texts stay on one side of a split
    together, and there is no set of labels.

    Their ``texts`` and ``gold`` may be fields or not; that a record has them is checked where it is taken for a
    :class:`TaskExample`.
    """

    place: Place

    @property
    def group(self: TaskExample) -> str:
        return "\n".join(self.texts)

    @property
    def labels(self) -> tuple[str, ...]:
        return ()

"""Rows of a request to answers; requests that wait while the model computes are answered together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from danlu.data.columns import ColumnError
from danlu.data.dataset import inputs_of
from danlu.data.example import Place
from danlu.data.records import table_of
from danlu.errors import InputError, shown
from danlu.tasks.model_folder import Trained, describe
from danlu.tasks.predict import Predictor
from danlu.tasks.scores import prediction
from danlu.tasks.task import Answer

AT_ONCE = 256
"""Examples that are answered together, where several requests wait."""
REQUEST = Path("request")
QUESTION = "instruction"
"""Of a conversation, its only text where it has one."""
Q = TypeVar("Q")
A = TypeVar("A")


class Engine:
    """A model that ``danlu finetune`` has made, or a classifier of others, ready to answer rows.

    What it answers is what ``danlu predict`` answers to a file with the same rows.
    """

    def __init__(self, folder: Path, *, dtype: str | None = None) -> None:
        """Load the folder.

        Raises:
            InputError, CheckpointError: there is no such model.
        """
        self.name = folder.resolve().name
        self.trained = Trained.load(folder)
        self.predictor = Predictor(folder, self.trained, dtype=dtype)
        self.columns = {field: column for field, column in self.trained.columns.items() if _is_name(column)}
        named = {field: column for field, column in self.trained.data.columns.items() if _is_name(str(column))}
        self.data = self.trained.data.model_copy(update={"columns": named})  # keys of an object have no numbers
        most = 1 if self.trained.task.together else AT_ONCE
        self._waiting: Together[Any, Answer] = Together(self.predictor.answer_together, most=most)

    def said(self) -> dict[str, Any]:
        """What a page or a program has to know of the model."""
        return {
            "model": self.name,
            "task": self.trained.task.to_recipe()["use"],
            "labels": list(self.trained.known.labels),
            "fields": [
                {"field": each.name, "name": self.columns.get(each.name, each.name), "required": each.required}
                for each in self.trained.task.form.fields
                if not each.gold
            ],
        }

    def described(self) -> str:
        """One line, for the screen."""
        return describe(self.trained)

    def answer(self, rows: Sequence[Any]) -> list[dict[str, Any]]:
        """What a line of predictions says of each row, without its place.

        Args:
            rows: objects whose keys are the columns of the training file, or what those are usually called; a text
                where the task reads one text.

        Raises:
            InputError: a row is no example; which one, and why.
        """
        trained, form = self.trained, self.trained.task.form
        table = table_of(REQUEST, [(place, self._object(place, row)) for place, row in _placed(rows)])
        try:
            inputs = inputs_of(table, self.data, form, columns=self.columns, labels=trained.known.labels)
        except ColumnError:
            raise InputError(f"a row needs {self._wanted()}; got {', '.join(map(repr, table.columns))}") from None
        examples = trained.task.takes(inputs, trained.known.scheme).splits["test"]
        return [_line(*each) for each in zip(examples, self._waiting.ask(examples), strict=True)]

    def _object(self, place: Place, row: Any) -> dict[str, Any]:
        """A row with keys; a text alone is that of the one field that is needed, or of a conversation its question."""
        if isinstance(row, dict) and row:
            return row
        if isinstance(row, str) and (field := self._of_text()) is not None:
            return {field: row}
        raise place.error(f"it must be an object with {self._wanted()}; got {shown(repr(row))}")

    def _of_text(self) -> str | None:
        fields = self.trained.task.form.fields
        needed = [each.name for each in fields if each.required and not each.gold]
        if not needed and any(each.name == QUESTION for each in fields):
            needed = [QUESTION]
        return self.columns.get(needed[0], needed[0]) if len(needed) == 1 else None

    def _wanted(self) -> str:
        """The keys that a row has to have, or may have where it is to have any."""
        fields = self.said()["fields"]
        needed = [repr(each["name"]) for each in fields if each["required"]]
        return " and ".join(needed) or " or ".join(repr(each["name"]) for each in fields)


def _line(example: Any, said: Answer) -> dict[str, Any]:
    """As in a file of predictions; the text, which who asks has, only where places in it are counted."""
    line = prediction(example, said)
    left_out = {"file", "row", "gold"} if "entities" in line else {"file", "row", "gold", "texts"}
    return {name: value for name, value in line.items() if name not in left_out}


def _placed(rows: Sequence[Any]) -> list[tuple[Place, Any]]:
    if not rows:
        raise InputError("the request has no row")
    return [(Place(REQUEST, number, "row"), row) for number, row in enumerate(rows, 1)]


def _is_name(column: str | None) -> bool:
    """Whether a column has a name, and not a number."""
    return column is not None and not column.isdigit()


@dataclass(frozen=True)
class _Asked(Generic[Q, A]):
    """Questions of one request, and where their answers go."""

    questions: Sequence[Q]
    answers: Future[list[A]]


class Together(Generic[Q, A]):
    """One thread answers what many ask; what has come in meanwhile is answered in one go."""

    def __init__(self, answer: Callable[[Sequence[Q]], list[A]], *, most: int) -> None:
        """
        Args:
            answer: an answer a question, in their order.
            most: questions in one go, unless a single request has more.
        """
        self._answer, self._most = answer, most
        self._queue: SimpleQueue[_Asked[Q, A]] = SimpleQueue()
        threading.Thread(target=self._work, daemon=True, name="danlu serve").start()

    def ask(self, questions: Sequence[Q]) -> list[A]:
        """Wait for the answers; may be called by many threads. What the model raises, this raises."""
        asked = _Asked[Q, A](questions, Future())
        self._queue.put(asked)
        return asked.answers.result()

    @property
    def waiting(self) -> int:
        """Requests that nobody has begun with."""
        return self._queue.qsize()

    def _work(self) -> None:
        behind: _Asked[Q, A] | None = None
        while True:
            group = [self._queue.get() if behind is None else behind]
            behind, count = None, len(group[0].questions)
            while count < self._most and behind is None:
                try:
                    following = self._queue.get_nowait()
                except Empty:
                    break
                if count + len(following.questions) > self._most:
                    behind = following
                else:
                    group.append(following)
                    count += len(following.questions)
            self._answer_all(group)

    def _answer_all(self, group: Sequence[_Asked[Q, A]]) -> None:
        try:
            answers = self._answer([each for asked in group for each in asked.questions])
        except BaseException as error:
            if len(group) == 1:
                group[0].answers.set_exception(error)
                return
            for asked in group:  # whose fault it is, each finds out alone
                self._answer_all([asked])
            return
        start = 0
        for asked in group:
            asked.answers.set_result(answers[start : start + len(asked.questions)])
            start += len(asked.questions)

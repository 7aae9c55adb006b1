"""Rows of a request to answers, which are those that ``danlu predict`` gives to a file with the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from danlu.data.columns import by_names
from danlu.data.dataset import inputs_of
from danlu.data.example import Place
from danlu.data.form import Form
from danlu.data.records import table_of
from danlu.data.rows import Table
from danlu.errors import InputError, shown
from danlu.nn.hf.given import check_given
from danlu.serve.together import Together
from danlu.tasks.contrast import Embed
from danlu.tasks.keys import keys_said
from danlu.tasks.model_folder import BESIDE_TEXT, FILE, Trained, columns_of_pairs, describe, for_pairs
from danlu.tasks.predict import Predictor
from danlu.tasks.scores import prediction
from danlu.tasks.task import Answer

AT_ONCE = 256
"""Examples that go through the model together, of one request or of several."""
REQUEST = Path("request")
QUESTION = "instruction"
"""Of a conversation, its only text where it has one."""


class Engine:
    """A model that ``danlu finetune`` has made, or a classifier of others, ready to answer rows."""

    def __init__(self, folder: Path, *, dtype: str | None = None) -> None:
        """Load the folder.

        Raises:
            InputError, CheckpointError: there is no such model, or what it does is done by another command.
        """
        check_given(folder)
        self.name, self.folder = _name(folder), folder
        trained = Trained.load(folder)
        if isinstance(trained.task, Embed):
            raise InputError(f"{folder} makes vectors: 'danlu similar {folder} TEXT TEXTS' searches texts by them, "
                             f"'danlu embed {folder} TEXTS' writes them")  # fmt: skip
        self.columns = {field: column for field, column in trained.columns.items() if not column.isdigit()}
        """The key of each field; keys have no numbers."""
        data = trained.data.model_copy(update={"columns": {}, "mend": False})  # each row has its answer
        self.trained = replace(trained, data=data)
        self._pairs = for_pairs(folder, self.trained)  # which the columns of a request tell
        self.predictor = Predictor(folder, self.trained, dtype=dtype)
        self._model: Together[Any, Answer] = Together(self._answers, most=AT_ONCE, alone=trained.task.together)

    def said(self) -> dict[str, Any]:
        """What a page or a program has to know of the model."""
        rated = self.trained.task.rates
        fields = [each for each in self.trained.task.form.fields if not each.gold or each.name in rated]
        said = [
            {"field": each.name, "name": self._key(each.name), "required": each.required or each.name in rated}
            for each in fields
        ]
        if self._pairs is not None:
            said.append({"field": BESIDE_TEXT, "name": BESIDE_TEXT, "required": False})
        return {
            "model": self.name,
            "task": str(self.trained.task.to_recipe()["use"]).rpartition(":")[2],
            "labels": list(self.trained.known.labels),
            "fields": said,
        }

    def described(self) -> str:
        """One line, for the screen."""
        return describe(self.trained)

    def ask(self, rows: Sequence[Any]) -> Future[list[dict[str, Any]]]:
        """Read the rows, and have them answered: of each what a line of predictions says, without its place.

        Args:
            rows: objects whose keys are the columns of the training file, or what those are usually called; a text
                where the task reads one text.

        Raises:
            InputError: a row is no example; which one, and why.
        """
        examples = self._read(rows)
        lines: Future[list[dict[str, Any]]] = Future()
        answers = self._model.ask(examples)

        def finish(done: Future[list[Answer]]) -> None:
            if done.cancelled() or not lines.set_running_or_notify_cancel():
                lines.cancel()
            elif (error := done.exception()) is not None:
                lines.set_exception(error)
            else:
                lines.set_result([_line(*each) for each in zip(examples, done.result(), strict=True)])

        answers.add_done_callback(finish)
        lines.add_done_callback(lambda given_up: answers.cancel() if given_up.cancelled() else None)
        return lines

    def _read(self, rows: Sequence[Any]) -> Sequence[Any]:
        if not rows:
            raise InputError("the request has no row")
        places = [Place(REQUEST, number, "row") for number in range(1, len(rows) + 1)]
        table = table_of(REQUEST, [(place, self._object(place, row)) for place, row in zip(places, rows, strict=True)])
        sides = None if self._pairs is None else columns_of_pairs(table)
        trained = self.trained if sides is None or self._pairs is None else self._pairs
        form = trained.task.form
        columns = sides or {field: column for field, column in self.columns.items() if column in table.columns}
        self._check_keys(table, form, columns)
        with self._errors_here():
            inputs = inputs_of(
                table, trained.data, form, columns=columns, labels=trained.known.labels,
                conventions=trained.conventions,
            )  # fmt: skip
            examples = trained.task.takes(inputs, trained.known.scheme).splits["test"]
        assert len(examples) == len(rows)
        return examples

    def _answers(self, examples: Sequence[Any]) -> list[Answer]:
        with self._errors_here():
            return self.predictor.answer_together(examples)

    def _errors_here(self) -> AbstractContextManager[None]:
        """Errors of settings name the folder's file: a caller has no recipe."""
        return keys_said({"finetune.": f"{self.folder / FILE}: "})

    def _check_keys(self, table: Table, form: Form[Any], columns: dict[str, str]) -> None:
        """See that every field that is needed is there by name: a guess by content would differ from row to row."""
        fields = [each for each in form.fields if not each.gold and each.name not in columns]
        found = {**by_names(table, fields), **columns}
        lacking = [self._key(each.name) for each in fields if each.required and each.name not in found]
        if lacking:
            there = ", ".join(repr(shown(column)) for column in table.columns)
            raise InputError(f"no row has {' and '.join(map(repr, lacking))}; got {there}; one needs {self._wanted()}")

    def _object(self, place: Place, row: Any) -> dict[str, Any]:
        """A row with keys; a text alone is that of the one field that is needed, or of a conversation its question."""
        if isinstance(row, dict) and row:
            return row
        fields = self.trained.task.form.fields
        needed = [each.name for each in fields if each.required and not each.gold]
        if not needed and not self.trained.task.rates and any(each.name == QUESTION for each in fields):
            needed = [QUESTION]
        if isinstance(row, str) and len(needed) == 1:
            return {self._key(needed[0]): row}
        raise place.error(f"it must be an object with {self._wanted()}; got {shown(repr(row))}")

    def _key(self, field: str) -> str:
        return self.columns.get(field, field)

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


def _name(folder: Path) -> str:
    """What a model is called that lies where ``danlu finetune`` or ``danlu joint`` has put it: the run, or the task."""
    whole = folder.resolve()
    if whole.name != "model":
        return whole.name
    return whole.parents[1].name if whole.parent.name == "finetune" else whole.parent.name

"""Whether the rows of a table are examples of a task, and if not, why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from danlu import catalog
from danlu.data.columns import by_names, choose_columns
from danlu.data.form import Cells, Form
from danlu.data.names import TAGS, TOKEN, plain_name
from danlu.data.rows import Table
from danlu.errors import InputError, RecipeError

ORDER = (
    "extract", "choice", "relate", "prefer", "feedback", "chat", "pair", "similarity", "embed", "keywords",
    "multi_label", "seq2seq", "classify", "regress",
)  # fmt: skip
"""Tasks that columns' names may tell, those that need the most of them first."""
ROWS = 20
"""Rows that are looked at to see whether a task can read them."""
FAILED = 0.1
"""Share of them that it need not be able to."""
TELLING = {
    "extract": ("question", "context", "answers"), "choice": ("question", "choices", "answer"),
    "relate": ("text", "head", "tail", "label"), "prefer": ("chosen", "rejected"),
    "feedback": ("prompt", "response", "good"),
}  # fmt: skip
"""Fields of tasks that hardly a table has columns for which is not for that task."""


def form_of(task: str) -> Form[Any]:
    """What the data of a task look like."""
    form: Form[Any] = catalog.load("task", task, key="task").form
    return form


def reads(table: Table, form: Form[Any], *, gold: bool = True) -> bool:
    """Whether the first rows are examples of the form."""
    try:
        first_examples(table, form, choose_columns(table, form.fields, {}, gold=gold), gold=gold)
    except (InputError, RecipeError):
        return False
    return True


def first_examples(table: Table, form: Form[Any], chosen: Mapping[str, str], *, gold: bool = True) -> list[Any]:
    """The first rows but those that lack something and a few that are malformed, of which training tells.

    Raises:
        InputError: more of them are no examples of the form, or most lack something.
    """
    fields = {field.name for field in form.fields if field.required}
    needed = [column for field, column in chosen.items() if field in fields]
    rows = table.rows[:ROWS]
    whole = [row for row in rows if all(row.cells.get(column) not in (None, "") for column in needed)]
    if len(whole) * 2 <= len(rows):
        raise InputError(f"{table.path}: most rows lack {' or '.join(needed)}")
    found, failed = [], []
    for row in whole:
        try:
            found.append(form.read(Cells(row, chosen, gold)))
        except InputError as error:
            failed.append(error)
    if len(failed) > FAILED * len(whole):
        raise failed[0]
    return found


def why_not(table: Table) -> str:
    """What is wrong with the examples of a task that the columns are called for."""
    for name in ("tag", *ORDER):
        form = form_of(name)
        wanted = [field for field in form.fields if field.required] or [form.fields[0]]  # of a chat the messages
        found = by_names(table, [replace(field, required=True) for field in wanted])
        if len(found) < len(wanted):
            continue
        try:
            first_examples(table, form, choose_columns(table, form.fields, {}))
        except InputError as error:
            return f"; to learn {'tags' if name == 'tag' else name}: {error}"
    return ""


def check_sentences(table: Table) -> None:
    """Refuse a token and the tag of an entity in each row where nothing says which sentence it is of.

    Raises:
        InputError: it is so.
    """
    names = {plain_name(column): column for column in table.columns} if table.named else {}
    if not names.keys() & set(TOKEN):
        return
    for column in (names[name] for name in TAGS if name in names):
        found = {str(value) for value in table.values(column)}
        if "O" in found and all(tag == "O" or tag[1:2] == "-" for tag in found):
            raise InputError(
                f"danlu init: {table.path} has a token a row, with its tag in column {column!r}, and nothing that "
                f"parts sentences: leave a blank line between two, or have a column sentence_id"
            )


def passed_over(table: Table, chosen: str) -> str:
    """In a line, why it is not another task that the columns are called for; empty where there is none such."""
    for name, wanted in TELLING.items():
        form = form_of(name)
        fields = [replace(field, required=True) for field in form.fields if field.name in wanted]
        if name == chosen or len(by_names(table, fields)) < len(wanted):
            continue
        try:
            first_examples(table, form, choose_columns(table, form.fields, {}))
        except InputError as error:
            return f"not taken for {name}: {error}"
    return ""

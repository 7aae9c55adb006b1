"""``danlu init FILE``: look at a file of examples and write a recipe that fine-tunes for what it seems to be for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from danlu import catalog
from danlu.data import names
from danlu.data.columns import by_names, choose_columns, describe, looks_like_labels
from danlu.data.content import ending
from danlu.data.delimited import OWN, is_number
from danlu.data.form import Cells, Form
from danlu.data.literals import literal
from danlu.data.names import plain_name
from danlu.data.read import read_rows
from danlu.data.rows import Table
from danlu.errors import CheckpointError, InputError, RecipeError
from danlu.recipe_file import quoted
from danlu.tokenizers.chat_template import own_source
from danlu.tokenizers.folder import read_tokenizer

ORDER = (
    "extract", "choice", "relate", "prefer", "feedback", "chat", "embed", "tag", "pair", "similarity", "keywords",
    "multi_label", "seq2seq", "classify", "regress",
)  # fmt: skip
"""Tasks that columns' names may tell, those that need the most of them first."""
EMBED, KEYWORDS = names.POSITIVE[:3], (*names.KEYWORDS[:2], names.KEYWORDS[-1])
"""Columns that are called so are of no other task."""
NUMBERS = {"pair": "similarity", "classify": "regress"}
"""What a task with labels is where these are numbers of many values."""
ROWS = 20
"""Rows that are looked at to see whether a task can read them."""
MOST_CLASSES = 3
"""Of pairs: so many numbers stand for classes."""
MOST_GRADES = 10
"""So many different numbers may be names of classes."""
TEMPLATE = """\
# Written by `danlu init` from a look at {file}:
# {read}
#
#   danlu finetune {name}    leaks and odd labels are told first; run again, it goes on or skips what is done
#   danlu predict runs/{run}/finetune/model NEW_FILE --out PREDICTIONS.csv
#
# What else can be set: danlu schema.

finetune:
  model: {model}  # a folder as transformers writes it; danlu import fetches or converts one
  task: {task}  # choices: {tasks}
  data:
    train: {train}
    # test: FILE  # a file that the last figures are measured on
    dev_share: 0.1  # of train, to choose the best checkpoint by; or dev: a file of its own
    columns: {columns}
  budget: {{epochs: 3}}
"""


def task_recipe(file: Path, *, model: Path | None, name: Path) -> str:
    """The text of a recipe for ``file``, and what it says of it.

    Raises:
        InputError: the file cannot be read, or no task fits it.
    """
    table = _sentences(file) or read_rows(file)
    task, form = guess(table)
    chosen = choose_columns(table, form.fields, {})
    columns = ", ".join(f"{field}: {quoted(column)}" for field, column in chosen.items())
    return TEMPLATE.format(
        file=file, read=describe(table, chosen, form.fields), name=name, run=name.stem, task=_settings(task, model),
        model=quoted(str(model or "MODEL_FOLDER")), train=quoted(str(file)), columns=f"{{{columns}}}",
        tasks=", ".join(catalog.names("task")),
    )  # fmt: skip


def _settings(task: str, model: Path | None) -> str:
    """The task, with a template where it renders conversations and the model's folder says nothing of how."""
    if model is None or "template" not in catalog.load("task", task, key="task").model_fields:
        return task
    try:
        bare = own_source(model, read_tokenizer(model)[1]) is None
    except (InputError, CheckpointError):  # it is told where it is read to train
        return task
    return f"{{use: {task}, template: chatml}}" if bare else task


def _sentences(file: Path) -> Table | None:
    """The file as sentences with a tag a token, if it is such a one and its ending does not say so."""
    if ending(file) not in OWN:
        return None
    try:
        table = read_rows(file, sentences=True)
    except InputError:  # it is said where it is read otherwise
        return None
    tokens = [token for value in table.values(table.columns[0]) if isinstance(value, list) for token in value]
    spaced = sum(" " in token for token in tokens)
    return table if len(table.columns) > 1 and spaced * 10 < len(tokens) else None


def guess(table: Table) -> tuple[str, Form[Any]]:
    """The task that the columns' names tell, else what stands in them: labels or numbers.

    Raises:
        InputError: none fits.
    """
    known = [name for name in ORDER if name in catalog.names("task")]
    for name in known:
        form = _form(name)
        found = by_names(table, form.fields)
        whole = len(found) == sum(field.required for field in form.fields)
        if form.sentences or not whole or not _reads(table, form) or not _fits(name, table, found):
            continue
        other = NUMBERS.get(name)
        if other is not None and _are_grades(table.values(found["label"])):
            return other, _form(other)
        return name, form
    for name in ("tag", "pair", "similarity", "classify", "regress"):
        try:
            chosen = choose_columns(table, _form(name).fields, {}) if name in known else {}
        except (InputError, RecipeError):
            continue
        if name == "tag" and chosen and not _are_sentences(table, chosen):
            continue
        if name == "pair" and chosen and not _are_two_texts(table, chosen):
            continue
        if name == "similarity" and chosen and not (_are_two_texts(table, chosen) and _are_alike(table, chosen)):
            continue
        if name == "pair" and chosen and _are_marks(table.values(chosen["label"])):
            return "similarity", _form("similarity")
        if chosen:
            return name, _form(name)
    raise InputError(f"danlu init: no task is known for the columns of {table.path}: {', '.join(table.columns)}")


def _fits(name: str, table: Table, found: Mapping[str, str]) -> bool:
    """Whether what stands in the columns is what the task's name says, where others call theirs alike."""
    if name == "multi_label":
        return _are_several(table.values(found["labels"]))
    if name == "embed":
        return plain_name(found["positives"]) in EMBED
    if name == "keywords":
        return plain_name(found["keywords"]) in KEYWORDS
    if name == "seq2seq":  # news have titles, but what is asked for is mostly their topic
        labels = by_names(table, _form("classify").fields).get("label")
        return labels is None or not looks_like_labels(list(map(str, table.values(labels))))
    return "number" not in found or all(is_number(str(value)) for value in table.values(found["number"]))


def _reads(table: Table, form: Form[Any]) -> bool:
    """Whether most of the first rows are examples of the form; what is wrong with the others is told in training."""
    try:
        chosen = choose_columns(table, form.fields, {})
    except (InputError, RecipeError):
        return False
    rows = table.rows[:ROWS]
    failed = 0
    for row in rows:
        try:
            form.read(Cells(row, chosen))
        except InputError:
            failed += 1
    return failed * 2 < len(rows)


def _form(task: str) -> Form[Any]:
    form: Form[Any] = catalog.load("task", task, key="task").form
    return form


def _are_several(values: Sequence[Any]) -> bool:
    """Whether there are lists of labels, not all of one, or texts that are parted into labels which come again."""
    read = [found if isinstance(value, str) and (found := literal(value)) is not None else value for value in values]
    lists = [value for value in read if isinstance(value, list)]
    if lists:
        return any(len(value) != 1 for value in lists)
    texts = [value for value in read if isinstance(value, str)]
    if any(mark in value for value in texts for mark in "|;；｜"):
        return True
    parts = {part.strip() for value in texts for part in re.split("[,，、]", value)}
    return any(re.search("[,，、]", value) for value in texts) and len(parts) < len(set(texts))


def _are_sentences(table: Table, chosen: Mapping[str, str]) -> bool:
    """Whether the first rows have a tag for each token, and some of them several."""
    try:
        found = [_form("tag").read(Cells(row, chosen)) for row in table.rows[:ROWS]]
    except InputError:
        return False
    return any(len(each.tokens) > 1 for each in found)


def _are_two_texts(table: Table, chosen: Mapping[str, str]) -> bool:
    """Whether both columns hold texts, hardly any of them twice."""
    return all(len(set(map(str, table.values(chosen[field])))) * 2 > len(table.rows) for field in ("first", "second"))


def _are_alike(table: Table, chosen: Mapping[str, str]) -> bool:
    """Whether the texts of both columns are about as long, as those that are compared are."""
    first, second = (sum(len(str(value)) for value in table.values(chosen[field])) for field in ("first", "second"))
    return max(first, second) <= 2 * min(first, second)


def _are_marks(values: Sequence[Any]) -> bool:
    """Whether these are numbers on a scale, not those of classes as inference has them."""
    return all(is_number(str(value)) for value in values) and len(set(map(str, values))) > MOST_CLASSES


def _are_grades(values: Sequence[Any]) -> bool:
    """Whether these are numbers, and too many to be names of classes, or with decimals."""
    texts = [str(value) for value in values]
    return all(map(is_number, texts)) and (
        len(set(texts)) > MOST_GRADES or any(not float(text).is_integer() for text in texts)
    )

"""``danlu predict``: answers to a file of examples, and their figures where the file says what is right."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from danlu import log
from danlu.data.columns import ColumnError
from danlu.data.dataset import load_inputs
from danlu.errors import DanluError, InputError, RecipeError
from danlu.files import atomic_write, writing
from danlu.machine import fast_bfloat16
from danlu.nn.heap import keep_few_kernels, keep_freed_memory
from danlu.nn.hf.folder import load_model
from danlu.nn.hf.given import check_given
from danlu.nn.packed import may_be_packed, pack
from danlu.nn.transformer import Transformer
from danlu.tasks.answering import answer
from danlu.tasks.keys import keys_said
from danlu.tasks.model_folder import FILE, Trained, describe, load_for
from danlu.tasks.predicted import WRITERS, Source
from danlu.tasks.scores import score
from danlu.tasks.task import Answer
from danlu.tasks.text_reader import TextReader
from danlu.tasks.writing import Written
from danlu.text.lists import check_new_file

EXAMPLES_AT_ONCE = 8192
"""Examples between two signs of progress; those of like length go through the model together."""


def predict_file(
    folder: Path, file: Path, out: Path, *, columns: Mapping[str, str | int] | None = None, dtype: str | None = None
) -> None:
    """Write an answer for every example of ``file``, in their order.

    Args:
        folder: a model that ``danlu finetune`` has made, or a classifier of others.
        out: a new file, .jsonl, .csv or .tsv, with the columns of ``file``; it appears when all is done, or not at all.
        columns: which column holds what; by default as in training, else guessed. A classifier of others reads pairs
            where ``first`` or ``second`` is named, or the file's columns are called so.
        dtype: what the model calculates in; by default bfloat16 where the processor multiplies it in hardware, but
            float32 where answers are numbers.

    Raises:
        InputError, CheckpointError: there is no such model, or the file is no file of its task.
        OutputError: ``out`` is there already, or cannot be written.
    """
    check_given(folder)
    check_new_file(out, *WRITERS)
    trained = load_for(folder, file, columns or {})
    log.say(f"{folder}: {describe(trained)}")
    if columns:
        trained = as_said(trained, columns)
    try:
        inputs = load_inputs(
            file, trained.data, trained.task.form, columns=trained.columns, labels=trained.known.labels,
            conventions=trained.conventions,
        )  # fmt: skip
    except ColumnError as error:
        field = next(each.name for each in trained.task.form.fields if each.required and not each.gold)
        raise InputError(f"{error}; say which it is behind the file: {field}=COLUMN") from None
    assert inputs.table is not None
    source = Source.of(inputs.table, inputs.columns)
    dataset = trained.task.takes(inputs, trained.known.scheme)
    for line in dataset.said:
        log.say(line)
    examples = dataset.splits["test"]
    with keys_said({"finetune.": f"{folder / FILE}: "}):
        answers = Predictor(folder, trained, dtype=dtype).answer(examples)
    with writing(out.parent):
        atomic_write(out, WRITERS[out.suffix.lower()](source, examples, answers))
    log.say(f"{out}: written, {len(answers):,} predictions")
    if cut := sum(each.cut for each in answers):
        log.say(f"{cut:,} of {len(answers):,} are about a part of their text, which has more than "
                f"{trained.max_tokens:,} tokens (max_tokens)")  # fmt: skip
    _say_figures(trained, examples, answers)


class Predictor:
    """A model for a task, ready to answer."""

    def __init__(self, folder: Path, trained: Trained, *, dtype: str | None = None) -> None:
        keep_freed_memory()
        keep_few_kernels()
        fast = torch.bfloat16 if fast_bfloat16() and not trained.task.exact else torch.float32
        chosen = {None: fast, **DTYPES}[dtype]
        self.trained = trained
        self.model: Transformer = load_model(folder, dtype=chosen)
        self.reader = TextReader.load(folder, max_tokens=trained.max_tokens, cut=trained.task.cut)
        if may_be_packed(self.model):
            pack(self.model)

    def answer(self, examples: Sequence[Any]) -> list[Answer]:
        """An answer an example, with progress."""
        answers: list[Answer] = []
        began = time.perf_counter()
        with log.progress("predict", len(examples), "examples") as progress:

            def tell(more: int = 0) -> None:
                done = len(answers) + more
                progress.update(done, examples_per_second=done / (time.perf_counter() - began))

            at_once = max(1, len(examples)) if self.trained.task.together else EXAMPLES_AT_ONCE
            for start in range(0, len(examples), at_once):
                answers += self.answer_together(examples[start : start + at_once], told=tell)
                tell()
        return answers

    def answer_together(
        self, examples: Sequence[Any], *, told: Callable[[int], None] = lambda more: None
    ) -> list[Answer]:
        """An answer an example, in one go.

        Args:
            told: called with the number of answers so far, where they are written one after the other.
        """
        task, known = self.trained.task, self.trained.known
        if isinstance(task, Written):
            return task.write(self.model, examples, self.reader, told=told)
        features = task.features(examples, known, self.reader)
        return answer(task, self.model, features, examples, known, self.reader)


def as_said(trained: Trained, columns: Mapping[str, str | int]) -> Trained:
    """To read a file of which somebody has said which column holds what: what these columns were in training says
    nothing of them, and neither does where training had those fields."""
    said = set(map(str, columns.values()))
    of_training = {field: at for field, at in trained.columns.items() if field not in columns and at not in said}
    return replace(trained, data=trained.data.model_copy(update={"columns": dict(columns)}), columns=of_training)


def columns_of(overrides: Sequence[str]) -> dict[str, str | int]:
    """``text=review`` and the like.

    Raises:
        RecipeError: one is not of that form.
    """
    found: dict[str, str | int] = {}
    for each in overrides:
        field, mark, column = each.partition("=")
        if not mark or not field or not column:
            raise RecipeError(f"a column is said as FIELD=COLUMN, such as text=review; got {each!r}")
        found[field.removeprefix("columns.")] = int(column) if column.isdecimal() else column
    return found


def _say_figures(trained: Trained, examples: Sequence[Any], answers: Sequence[Answer]) -> None:
    """Where the file says of every example what is right."""
    if not examples or any(each.gold is None for each in examples):
        return
    if isinstance(trained.task, Written) and not trained.task.judged:
        return
    try:
        scored = score(trained.task, examples, answers, trained.known, seed=0)
    except DanluError as error:  # an unknown label, or a metric whose model is gone: the answers are there all the same
        log.say(f"no figures: {error}")
        return
    for name, value in scored["figures"].items():
        if not name.startswith("label."):
            low, high = scored["intervals"].get(name, (value, value))
            log.say(f"{name:<28} {value:8.4f}   95 % between {low:.4f} and {high:.4f}")


DTYPES: dict[str | None, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}

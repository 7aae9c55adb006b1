"""A file of questions through a model: figures, and a line a question."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from danlu.data.read import read_rows
from danlu.errors import InputError
from danlu.files import atomic_write, write_json
from danlu.suites.figures import Answered, by_group, figures, line_of
from danlu.suites.question import Question, Suite
from danlu.suites.request import Scorer


class Result(NamedTuple):
    """What came of a suite."""

    figures: dict[str, Any]
    groups: dict[str, dict[str, dict[str, Any]]]
    lines: list[dict[str, Any]]


def read_questions(suite: Suite, file: Path, *, limit: int | None = None) -> list[Question]:
    """The questions of a file, the first ``limit`` of each of the suite's groups where there is a limit.

    Raises:
        InputError: the file cannot be read, or a row is no question of the suite.
    """
    questions = suite.questions(read_rows(file))
    if limit is None:
        return questions
    taken: dict[str, int] = {}
    kept = []
    for question in questions:
        group = list(question.groups.values() or [""])[-1]
        taken[group] = taken.get(group, 0) + 1
        if taken[group] <= limit:
            kept.append(question)
    return kept


def check_fits(scorer: Scorer, suite: Suite) -> None:
    """Refuse to ask a model for words that can only find those that are masked.

    Raises:
        InputError: it is so.
    """
    if suite.written and not scorer.foresees:
        raise InputError(
            f"{type(suite).__name__}: a masked language model writes no words; it can be asked to choose (blimp, arc …)"
        )


def ask(scorer: Scorer, suite: Suite, questions: Sequence[Question], *, seed: int) -> Result:
    """Score all choices of all questions.

    Args:
        seed: what the draws of the intervals follow from.

    Raises:
        InputError: the model does not fit the suite, or a text not the model.
    """
    check_fits(scorer, suite)
    scores = iter(scorer.score([request for question in questions for request in question.requests]))
    answered = [Answered(question, tuple(next(scores) for _ in question.requests)) for question in questions]
    return Result(
        figures(answered, suite, seed=seed),
        by_group(answered, suite, seed=seed),
        [line_of(each, suite) for each in answered],
    )


def write_result(result: Result, folder: Path, name: str, *, about: dict[str, Any]) -> None:
    """Write ``NAME.json`` (what was asked, figures in all and by group), ``NAME_items.jsonl`` (a line a question)."""
    write_json(folder / f"{name}.json", {**about, "all": result.figures, **result.groups})
    lines = (json.dumps(line, ensure_ascii=False) + "\n" for line in result.lines)
    atomic_write(folder / f"{name}_items.jsonl", "".join(lines).encode())

"""Chinese exams: questions with four choices, answered by a letter, after some that have been answered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field, model_validator

from danlu.data.chosen import MultipleChoice
from danlu.data.read import read_rows
from danlu.data.rows import Table
from danlu.errors import InputError, suggestion
from danlu.suites.question import Question, Suite, cells_of, choices_of
from danlu.suites.request import Request
from danlu.suites.subjects import CEVAL, CMMLU

LETTERS = ("A", "B", "C", "D")


class Cmmlu(Suite):
    """CMMLU (Li et al. 2023, arXiv:2306.09212): 67 subjects, from agronomy to world religions; prompts as ``cmmlu``."""

    shown: ClassVar[str] = "subject"
    TEXT: ClassVar[str] = "以下是关于{}的单项选择题，请直接给出正确答案的选项。\n\n"
    NAMES: ClassVar[Mapping[str, str]] = CMMLU

    shots: int = Field(default=0, ge=0)
    """Answered questions that stand before each; mostly 5."""
    examples: Path | None = None
    """The file with the answered questions (CMMLU's dev): the first ones of the same subject are taken."""
    subject: str | None = None
    """The subject of all questions, where the file has no column that says it."""

    @model_validator(mode="after")
    def _shots_have_examples(self) -> Self:
        if (self.shots > 0) != (self.examples is not None):
            raise ValueError("shots and examples go together: how many answered questions, and the file with them")
        return self

    def files(self) -> list[Path]:
        """The answered questions."""
        return [] if self.examples is None else [self.examples]

    def questions(self, table: Table) -> list[Question]:
        """Rows with ``subject``, ``question``, ``A`` to ``D``, ``answer``."""
        answered: dict[str, list[str]] = {}
        if self.examples is not None:
            for subject, example, gold in self._read(read_rows(self.examples)):
                answered.setdefault(subject, []).append(f"{_asked(example)} {LETTERS[gold]}\n\n")
        found = []
        for subject, example, gold in self._read(table):
            shots = answered.get(subject, [])[: self.shots]
            if len(shots) < self.shots:
                raise InputError(f"{self.examples} has {len(shots)} questions of {subject!r}; shots are {self.shots}")
            context = "".join([self.TEXT.format(self.NAMES[subject]), *shots, _asked(example)])
            requests = tuple(Request(context, f" {letter}") for letter in LETTERS)
            found.append(Question(example.place, requests, LETTERS, gold, {"subject": subject}))
        return found

    def _read(self, table: Table) -> list[tuple[str, MultipleChoice, int]]:
        """Subject, question and the place of the right choice."""
        found = []
        for (example, gold), cells in zip(choices_of(table, {}), cells_of(table), strict=True):
            if len(example.choices) != len(LETTERS):
                raise example.place.error(f"there must be four choices, A to D; got {len(example.choices)}")
            column = next((name for name in table.columns if name.lower() == "subject"), None)
            if column is None and self.subject is None:
                raise InputError(f"{table.path} has no column 'subject'; set subject{suggestion('', self.NAMES)}")
            subject = self.subject or cells.text(column or "")
            if subject not in self.NAMES:
                raise example.place.error(f"unknown subject {subject!r}{suggestion(subject, self.NAMES)}")
            found.append((subject, example, gold))
        return found


class CEval(Cmmlu):
    """C-Eval (Huang et al. 2023, arXiv:2305.08322): 52 subjects; prompts as ``ceval-valid``."""

    TEXT: ClassVar[str] = "以下是中国关于{}的单项选择题，请选出其中的正确答案。\n\n"
    NAMES: ClassVar[Mapping[str, str]] = CEVAL


def _asked(example: MultipleChoice) -> str:
    choices = "".join(f"{letter}. {choice}\n" for letter, choice in zip(LETTERS, example.choices, strict=True))
    return f"{example.question.strip()}\n{choices}答案："

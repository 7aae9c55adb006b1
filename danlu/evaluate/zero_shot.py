"""A suite of questions as a measure of a recipe's own model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, SkipValidation

from danlu.errors import InputError
from danlu.evaluate.protocol import Subject
from danlu.recipe import Choice, OneOf
from danlu.stage import Figures
from danlu.suites.likelihood import BATCH_TOKENS
from danlu.suites.question import Suite
from danlu.suites.run import ask, read_questions, write_result
from danlu.suites.scorer import scorer_of


class ZeroShot(Choice):
    """Questions that the model was never taught to answer: how likely it finds each choice."""

    suite: Annotated[SkipValidation[Suite], OneOf("suite")]
    """What kind of questions these are, and how they are asked."""
    file: Path
    """The questions: .jsonl, .csv, .parquet …, packed as .gz or not."""
    name: str | None = Field(default=None, pattern=r"^[\w-]+$")
    """What its figures and files are called; by default as the suite."""
    limit: int | None = Field(default=None, ge=1)
    """Only the first so many questions, of each paradigm or subject where there are several."""
    batch_tokens: int = Field(default=BATCH_TOKENS, ge=1)
    """Tokens that go through the model at once: more takes more memory and changes no figure."""

    def files(self) -> list[Path]:
        """What it reads.

        Raises:
            InputError: a file is not there.
        """
        found = [self.file, *self.suite.files()]
        for path in found:
            if not path.is_file():
                raise InputError(f"evaluate.tasks: there is no file {path}")
        return found

    def called(self) -> str:
        """The name of its figures."""
        return self.name or str(self.suite.to_recipe()["use"]).rpartition(":")[2].lower()

    def measure(self, subject: Subject) -> Figures:
        """Write ``NAME.json`` and ``NAME_items.jsonl``; figures ``NAME.acc``, ``NAME.chance`` ….

        Raises:
            InputError: the file is none of the suite's, or the model cannot be asked.
        """
        questions = read_questions(self.suite, self.file, limit=self.limit)
        scorer = scorer_of(subject.model, subject.tokenizer, batch_tokens=self.batch_tokens)
        result = ask(scorer, self.suite, questions, seed=subject.seed)
        about = {"suite": self.suite.to_recipe(), "file": str(self.file), "limit": self.limit}
        write_result(result, subject.out, self.called(), about=about)
        single = {name: value for name, value in result.figures.items() if not isinstance(value, list)}
        return {f"{self.called()}.{name}": value for name, value in single.items()}

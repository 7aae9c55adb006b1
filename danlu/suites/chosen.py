"""Suites of questions with choices of any text, prompted as ``lm-evaluation-harness`` does.

Each reads its data set as it was published, and with the prompt half made (``query``, ``choices``, ``gold``), as
collections of evaluation data have it: what the prompt lacks, or has otherwise, is put right.
"""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from danlu.data.chosen import MultipleChoice
from danlu.data.form import Cells
from danlu.data.rows import Table
from danlu.suites.question import Question, Suite, cells_of, choices_of, form_of, gold_of
from danlu.suites.request import Request

_ASKS = "Question: "


def _question(example: MultipleChoice, prompt: str, gold: int) -> Question:
    requests = tuple(Request(prompt, f" {choice}") for choice in example.choices)
    return Question(example.place, requests, example.choices, gold)


class Questions(Suite):
    """Questions of your own, with choices: columns as in multiple choice, found by their names."""

    normalised: ClassVar[bool] = True

    prompt: str = Field(default="Question: {question}\nAnswer:", min_length=1)
    """What the model reads; ``{question}`` and, where the file has one, ``{context}`` are put in."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Which column holds the question, choices, answer, context; guessed where not said."""

    @model_validator(mode="after")
    def _prompt_asks(self) -> Self:
        if "{question}" not in self.prompt:
            raise ValueError("prompt must hold {question}")
        return self

    def questions(self, table: Table) -> list[Question]:
        """A row a question; a choice stands behind the prompt and a space."""
        return [
            _question(example, self._filled(example), gold) for example, gold in choices_of(table, dict(self.columns))
        ]

    def _filled(self, example: MultipleChoice) -> str:
        before, _, behind = self.prompt.partition("{question}")
        parts = (each.replace("{context}", example.context) for each in (before, behind))
        return example.question.join(parts)


class Arc(Suite):
    """Science questions of a school (Clark et al. 2018, arXiv:1803.05457), easy or challenging."""

    normalised: ClassVar[bool] = True

    def questions(self, table: Table) -> list[Question]:
        """Rows with ``question`` or ``query``, choices, and ``answerKey`` or ``gold``."""
        return [
            _question(example, f"{_ASKS}{example.question.removeprefix(_ASKS)}\nAnswer:", gold)
            for example, gold in choices_of(table, {})
        ]


class Piqa(Suite):
    """Which of two ways reaches a goal (Bisk et al. 2020, arXiv:1911.11641)."""

    normalised: ClassVar[bool] = True

    def questions(self, table: Table) -> list[Question]:
        """Rows with ``goal``, ``sol1``, ``sol2``, ``label``; or ``query``, ``choices``, ``gold``."""
        columns = {"question": "goal"} if "goal" in table.columns else {}
        found = []
        for example, gold in choices_of(table, columns):
            goal = example.question if columns else example.question.removeprefix(_ASKS).removesuffix("\n")
            found.append(_question(example, f"{_ASKS}{goal}\nAnswer:", gold))
        return found


class Copa(Suite):
    """The cause or effect of something (Roemmele et al. 2011; SuperGLUE, arXiv:1905.00537).

    Two spaces stand before a choice, as the harness has it: one of the choice, one of what joins it to the prompt.
    """

    CONNECTORS: ClassVar[dict[str, str]] = {"cause": "because", "effect": "therefore"}

    def questions(self, table: Table) -> list[Question]:
        """Rows with ``premise``, ``question``, ``choice1``, ``choice2``, ``label``; or with ``query``, as above."""
        columns = {"question": "premise"} if "premise" in table.columns else {}
        found = []
        for (example, gold), row in zip(choices_of(table, columns), cells_of(table), strict=True):
            prompt = self._prompt(row) if columns else self._half_made(row, example.question)
            choices = tuple(f" {choice[0].lower()}{choice[1:]}" for choice in example.choices)
            requests = tuple(Request(prompt, f" {choice}") for choice in choices)
            found.append(Question(example.place, requests, choices, gold))
        return found

    def _prompt(self, cells: Cells) -> str:
        asks = cells.text("question")
        if asks not in self.CONNECTORS:
            raise cells.error("question", f"must be one of {', '.join(self.CONNECTORS)}; got {asks!r:.100}")
        return f"{cells.text('premise').strip()[:-1]} {self.CONNECTORS[asks]}"

    def _half_made(self, cells: Cells, query: str) -> str:
        premise, _, connector = query.strip().rpartition(" ")
        if connector not in self.CONNECTORS.values():
            raise cells.place.error(f"the query must end in because or therefore; got {query[-40:]!r}")
        return f"{premise.removesuffix(',')} {connector}"


class BoolQ(Suite):
    """A question about a passage, to be answered by yes or no (Clark et al. 2019, arXiv:1905.10044)."""

    CHOICES: ClassVar[tuple[str, str]] = ("no", "yes")

    def questions(self, table: Table) -> list[Question]:
        """Rows with ``passage``, ``question``, ``label`` or ``answer``; or ``query``, ``choices``, ``gold``."""
        form = form_of(
            table, ("passage", "question", "label"), ("passage", "question", "answer"), ("query", "choices", "gold")
        )
        found = []
        for cells in cells_of(table):
            if form[0] == "query":
                if list(cells.texts("choices")) != list(self.CHOICES):
                    raise cells.error("choices", f"must be no and yes; got {cells.value('choices')!r:.100}")
                asked = cells.text("query").removeprefix("Passage: ")
            else:
                asked = f"{cells.text('passage')}\n{_ASKS}{cells.text('question')}?"
            requests = tuple(Request(f"{asked}\nAnswer:", f" {choice}") for choice in self.CHOICES)
            found.append(Question(cells.place, requests, self.CHOICES, gold_of(cells, form[2], 2)))
        return found


class WinoGrande(Suite):
    """Whom a pronoun means (Sakaguchi et al. 2020, arXiv:1907.10641).

    Both readings are put in, and how likely each makes the rest of the sentence is compared (Trinh & Le 2018,
    arXiv:1806.02847).
    """

    def questions(self, table: Table) -> list[Question]:
        """Rows with ``sentence``, ``option1``, ``option2``, ``answer``; or ``context_options``, ``continuation`` …."""
        form = form_of(table, ("sentence", "option1", "option2", "answer"), ("context_options", "continuation", "gold"))
        found = []
        for cells in cells_of(table):
            if form[0] == "sentence":
                before, blank, rest = cells.text("sentence").partition("_")
                if not blank or not rest.strip():
                    raise cells.error("sentence", "must hold _ for what is meant, and go on behind it")
                options, gold = (cells.text("option1"), cells.text("option2")), gold_of(cells, "answer", 2, first=1)
                contexts = tuple(before + option for option in options)
            else:
                contexts, rest = cells.texts("context_options"), cells.text("continuation")
                if len(contexts) != 2:
                    raise cells.error("context_options", f"must be 2; got {len(contexts)}")
                gold = gold_of(cells, "gold", 2)
            requests = tuple(Request(context, f" {rest.strip()}") for context in contexts)
            found.append(Question(cells.place, requests, contexts, gold))
        return found

"""Questions whose answers are parts of a text, or that have none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from danlu.data import names
from danlu.data.columns import Field
from danlu.data.example import Record
from danlu.data.form import Cells, Form, Mended
from danlu.data.literals import literal
from danlu.errors import shown

_PLACES_SHOWN = 3
_WHOLE = re.compile(r"\s*[0-9]+(?:\.0+)?\s*")
"""A whole number; pandas writes ``12.0`` where other rows of a column have none."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A part of the context, and the character at which it begins.

    ``start`` is None only where the file was mended: such an answer is scored against, but not learned from.
    """

    text: str
    start: int | None


@dataclass(frozen=True, slots=True)
class Question(Record):
    """A question about a context; no answers where it has none, and None where the file did not say."""

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...] | None

    @property
    def texts(self) -> tuple[str, ...]:
        return self.question, self.context

    @property
    def group(self) -> str:
        return self.context

    @property
    def gold(self) -> tuple[str, ...] | None:
        return None if self.answers is None else tuple(answer.text for answer in self.answers)


def _question(cells: Cells) -> Question:
    question, context = cells.text("question"), cells.text("context")
    name = cells.value("id")
    id = str(name) if isinstance(name, str | int) and name != "" else str(cells.place.number)
    answers = _answers(cells, context)
    if answers and cells.value("no_answer") in (True, "True", "true"):
        raise cells.error("no_answer", f"says that there is none, but there is the answer {shown(answers[0].text)!r}")
    if answers is not None and not answers and cells.value("no_answer") in (False, "False", "false"):
        raise cells.error("answers", "is empty, though the question is said to have one")
    return Question(cells.place, id, question, context, answers)


def _answers(cells: Cells, context: str) -> tuple[Answer, ...] | None:
    """Answers as SQuAD has them, as ``datasets`` turns them round, or of a column of texts and one of offsets."""
    value = _spelled(cells.value("answers"))
    if not cells.gold and value is None:
        return None
    if value is None and cells.value("no_answer") in (True, "True", "true"):
        return ()
    if value is None:
        raise cells.error("answers", "is missing")
    pairs: list[tuple[Any, Any]]
    if value == "":
        pairs = []
    elif isinstance(value, str):
        pairs = [(value, cells.value("start"))]
    elif isinstance(value, dict):
        texts, starts = value.get("text"), value.get("answer_start", value.get("start"))
        if not isinstance(texts, list):
            texts, starts = [texts], [starts]
        if not isinstance(starts, list):
            starts = [None] * len(texts)
        if len(texts) != len(starts):
            raise cells.error("answers", f"has {len(texts)} texts and {len(starts)} offsets")
        pairs = list(zip(texts, starts, strict=True))
    elif isinstance(value, list):
        pairs = [
            (each.get("text"), each.get("answer_start", each.get("start"))) if isinstance(each, dict) else (each, None)
            for each in value
        ]
    else:
        raise cells.error("answers", f"must be a list of answers; got {shown(repr(value))}")
    return tuple(_placed(cells, context, cells.checked("answers", text), start) for text, start in pairs)


def _spelled(value: Any) -> Any:
    """Of a table's cell the answers that it spells as SQuAD's; any other text is an answer."""
    found = literal(value) if isinstance(value, str) else None
    if isinstance(found, dict):
        return found if "text" in found else value
    texts = isinstance(found, list) and all(isinstance(each, str | dict) for each in found)
    return found if texts else value


def _placed(cells: Cells, context: str, text: str, start: Any) -> Answer:
    """The answer where it stands; without an offset, where it stands first."""
    if start is None or start == "":
        found = context.find(text)
        if found >= 0:
            return Answer(text, found)
        return _nowhere(cells, text)
    if isinstance(start, str) and _WHOLE.fullmatch(start):
        start = int(float(start))
    if isinstance(start, float) and start.is_integer():
        start = int(start)
    if not isinstance(start, int) or isinstance(start, bool):
        raise cells.error("answers", f"must say at which character it begins; got {shown(repr(start))}")
    if start >= 0 and context.startswith(text, start):
        return Answer(text, start)
    places = _occurrences(context, text)
    if not places:
        return _nowhere(cells, text)
    if cells.mended is not None:
        cells.mended.add("answer_start that did not match the context, moved to the nearest that does", cells.place)
        return Answer(text, min(places, key=lambda place: abs(place - start)))
    there = context[start : start + len(text)] if 0 <= start < len(context) else ""
    stands = f"there stands {shown(there)!r}" if there else f"the context has {len(context)} characters"
    listed = ", ".join(map(str, places[:_PLACES_SHOWN])) + (", …" if len(places) > _PLACES_SHOWN else "")
    raise cells.place.error(
        f"{_named(cells)}the answer {shown(text)!r} is not at answer_start {start} ({stands}); it is at {listed}"
    )


def _nowhere(cells: Cells, text: str) -> Answer:
    if cells.mended is None:
        raise cells.place.error(f"{_named(cells)}the answer {shown(text)!r} does not occur in the context")
    cells.mended.add("answer that is not in its context, kept to be scored against alone", cells.place)
    return Answer(text, None)


def _named(cells: Cells) -> str:
    name = cells.value("id")
    return f"id {shown(str(name))}: " if isinstance(name, str | int) else ""


def _occurrences(context: str, text: str) -> list[int]:
    places, start = [], context.find(text)
    while start >= 0:
        places.append(start)
        start = context.find(text, start + 1)
    return places


def check_ids(examples: Sequence[Question], mended: Mended | None) -> Sequence[Question]:
    """Refuse two questions of one id, by which answers are told apart.

    Where it may mend, the later one is left out if it is the same, else it is refused all the same.
    """
    seen: dict[str, Question] = {}
    kept = []
    for example in examples:
        other = seen.setdefault(example.id, example)
        if other is example:
            kept.append(example)
        elif mended is not None and (other.texts, other.gold) == (example.texts, example.gold):
            mended.add("question that is there twice, left out", example.place)
        else:
            at = f"{other.place.unit} {other.place.number}"
            raise example.place.error(f"the id {shown(example.id)!r} is that of {at} already")
    return kept


def said_of_questions(examples: Sequence[Question]) -> str:
    """How many have no answer, in words."""
    none = sum(example.answers == () for example in examples)
    return f"{none:,} questions have no answer" if none else ""


EXTRACT = Form(
    "extract",
    (
        Field("question", names.QUESTION, "texts"),
        Field("context", names.CONTEXT, "text"),
        Field("answers", names.ANSWERS, gold=True),
        Field("start", names.START, gold=True, required=False),
        Field("no_answer", names.NO_ANSWER, gold=True, required=False),
        Field("id", names.IDENTITY, required=False),
    ),
    _question,
    check_ids,
    said=said_of_questions,
)

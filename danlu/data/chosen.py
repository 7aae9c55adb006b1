"""Questions with choices, one of which is right."""

from __future__ import annotations

import string
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from danlu.data import names
from danlu.data.choice_marks import bare_mark, is_text_of, mark_and_text, parted_by_marks
from danlu.data.columns import Field
from danlu.data.example import Record
from danlu.data.form import Cells, Counting, Form, Mended
from danlu.data.parted import CHOICES, part_alone
from danlu.errors import did_you_mean, shown

_WITHIN = "question.choices"
"""What the column of choices is called that stand in an object with their question."""
_LETTERS = tuple(string.ascii_lowercase)
_NUMBERS = tuple(tuple(str(number) for number in range(first, first + 10)) for first in (0, 1))
_SERIES = (
    ("{}", _LETTERS),
    *((f"{name}{{}}", marks)
      for name in ("choice", "option", "ending", "sol", "answer", "选项", "选择") for marks in (*_NUMBERS, _LETTERS)),
    *(("{}选项", marks) for marks in (*_NUMBERS, _LETTERS)),
)  # fmt: skip
"""What a column for each choice is called, as :func:`_bare` has it, and what stands in it for which choice; the first
two have to be there."""


@dataclass(frozen=True, slots=True)
class MultipleChoice(Record):
    """A question, its choices, and which is right, counted from 0; None where the file did not say."""

    question: str
    choices: tuple[str, ...]
    answer: int | None
    context: str = ""
    counted_from: int | None = None
    """What the file counts its choices from, where it names the right one by a number."""

    @property
    def right(self) -> str | None:
        """The text of the right choice."""
        return None if self.answer is None else self.choices[self.answer]

    @property
    def texts(self) -> tuple[str, ...]:
        return (*((self.context,) if self.context else ()), self.question, *self.choices)

    @property
    def group(self) -> str:
        return self.context or self.question

    @property
    def gold(self) -> str | None:
        return None if self.answer is None else str(self.answer)


def _multiple_choice(cells: Cells) -> MultipleChoice:
    cells = _apart(cells)
    question = cells.text("question")
    context = _context(cells)
    choices, labels = _choices(cells)
    if len(choices) < 2:
        got = f"{len(choices)}{f': {shown(choices[0])!r}' if choices else ''}"
        raise cells.error("choices", f"must be at least 2; got {got}; part them by | or ; or line ends, number them "
                                     f"(A. … B. …), have a list, or a column for each: A, B, …")  # fmt: skip
    if not cells.gold and not cells.has("answer"):
        return MultipleChoice(cells.place, question, choices, None, context)
    value = cells.value("answer")
    name = _label(value, labels, choices)
    if name is not None:
        return MultipleChoice(cells.place, question, choices, labels.index(name), context)
    number = _number(value, choices)
    if number is not None and not (isinstance(value, str) and value in choices):
        return MultipleChoice(cells.place, question, choices, number, context, counted_from=0)
    if isinstance(value, str) and value in choices:
        return MultipleChoice(cells.place, question, choices, choices.index(value), context)
    given = cells.text("answer") if isinstance(value, str) or value is None else repr(value)
    known = (*labels, *choices)
    raise cells.error("answer", f"is none of the choices; got {shown(given)!r}{did_you_mean(given, known)} "
                                f"(choices: {shown(', '.join(labels))})")  # fmt: skip


def _context(cells: Cells) -> str:
    """What the question is about; a list, as C3 has it, are the lines of a text or what speakers say in turn."""
    if not cells.has("context"):
        return ""
    return "\n".join(cells.texts("context")) if isinstance(cells.value("context"), list) else cells.text("context")


def _apart(cells: Cells) -> Cells:
    """The question and its choices as two cells, where the question is an object that holds both, as ARC's files do."""
    asked = cells.value("question")
    if not isinstance(asked, dict) or "stem" not in asked or "choices" not in asked or cells.has("choices"):
        return cells
    row = replace(
        cells.row, cells={**cells.row.cells, cells.columns["question"]: asked["stem"], _WITHIN: asked["choices"]}
    )
    return replace(cells, row=row, columns={**cells.columns, "choices": _WITHIN})


def _choices(cells: Cells) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The choices and what they are called: of a list, of one of ``{text, label}``, of two lists, of an object by what
    they are called, or a column each."""
    value = cells.parted("choices", lambda cell: part_alone(cell, CHOICES))
    if isinstance(value, dict) and isinstance(value.get("text"), list):
        texts = tuple(cells.checked("choices", each) for each in value["text"])
        labels = value.get("label")
        if isinstance(labels, list) and len(labels) == len(texts):
            return texts, tuple(map(str, labels))
        return texts, _letters(len(texts))
    if isinstance(value, dict) and value and not any(isinstance(each, list | dict) for each in value.values()):
        filled = {str(mark): text for mark, text in value.items() if text not in (None, "")}  # {"A": "red", "B": …}
        return tuple(cells.checked("choices", text) for text in filled.values()), tuple(filled)
    if isinstance(value, list):
        return _listed(cells, value)
    if value is not None:
        raise cells.error("choices", f"must be a list of texts; got {shown(repr(value))}")
    series = _series(cells.row.cells)
    found: list[str] = []
    for name in series:
        if cells.row.cells.get(name) in (None, ""):
            continue
        if series.index(name) != len(found):
            empty = series[len(found)]
            raise cells.place.error(f"the choice {empty} is empty, though {name} is not")
        found.append(cells.checked(name, cells.row.cells[name]))
    if not found:
        raise cells.place.error(
            "there are no choices: name a column with a list in columns.choices, or have a column for each: A, B, …; "
            f"it has {', '.join(cells.row.cells)}"
        )
    return tuple(found), _letters(len(found))


def _listed(cells: Cells, value: list[object]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Of a list of texts, of objects with a text each, as ARC and CommonsenseQA have them, or of one marked text."""
    objects = [each for each in value if isinstance(each, dict) and "text" in each]
    if objects and len(objects) == len(value):
        texts = tuple(cells.checked("choices", each["text"]) for each in objects)
        named = [str(each["label"]) for each in objects if "label" in each]
        return texts, tuple(named) if len(named) == len(texts) else _letters(len(texts))
    marked = parted_by_marks(value[0]) if len(value) == 1 and isinstance(value[0], str) else ()
    texts = tuple(cells.checked("choices", each) for each in marked or value)
    return texts, _letters(len(texts))


def _series(columns: Collection[str]) -> Sequence[str]:
    """The columns that have a choice each, in order; none where there are no such columns. One that is left out is
    among them too: of A, B and D the last would else be called C. What comes later, as N or Q, is another column."""
    called: dict[str, str] = {}
    for column in columns:
        called.setdefault(_bare(column), column)
    for shape, marks in _SERIES:
        names = [shape.format(mark) for mark in marks]
        if all(name in called for name in names[:2]):
            last = 1
            while any(name in called for name in names[last + 1 : last + 3]):
                last += 1 if names[last + 1] in called else 2
            both = zip(names[: last + 1], marks, strict=False)
            return [called.get(name, mark.upper()) for name, mark in both]
    return ()


def _bare(column: str) -> str:
    """``optiona`` of ``Option A``, ``option_a`` and ``optionA``; ``a`` of ``A.``"""
    return "".join(letter for letter in column.casefold() if letter.isalnum())


def _label(value: Any, labels: Sequence[str], choices: Sequence[str]) -> str | None:
    """What the right choice is called, whatever its case and however it is spelled: ``(B)``, ``Option B``, ``B.
    green``; None where the value is something else."""
    name = value.strip() if isinstance(value, str) else ""
    if name in labels or name in choices:
        return name if name in labels else None
    spelled = dict(zip(reversed([label.casefold() for label in labels]), range(len(labels) - 1, -1, -1), strict=True))
    place = spelled.get(name.casefold(), spelled.get(bare_mark(name) or ""))
    mark, text = mark_and_text(name) or ("", "")
    if place is None and mark in spelled and is_text_of(text, choices[spelled[mark]]):
        place = spelled[mark]
    return None if place is None else labels[place]


def _letters(count: int) -> tuple[str, ...]:
    return tuple(string.ascii_uppercase[:count])


def _number(value: Any, choices: Sequence[str]) -> int | None:
    """A number as such, or spelled as a mark is: ``Option 2``, ``(2)``; with a text behind it that of a choice."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str):
        return None
    mark, text = mark_and_text(value) or (bare_mark(value) or "", "")
    if text and not any(is_text_of(text, choice) for choice in choices):
        return None
    number = value.strip() if value.strip().isdecimal() else mark
    return int(number) if number.isdecimal() else None


def check_answers(examples: Sequence[MultipleChoice], mended: Mended | None) -> Sequence[MultipleChoice]:
    """Count choices from 1 where the file does: no answer is 0, and one is as large as there are choices.

    Raises:
        InputError: an answer is the number of no choice.
    """
    counted = [example for example in examples if example.counted_from is not None and example.answer is not None]
    from_one = bool(counted) and all(example.answer != 0 for example in counted)
    first = int(from_one and any(example.answer == len(example.choices) for example in counted))
    return check_counted(examples, first, mended)


def counted_from(examples: Sequence[MultipleChoice]) -> int | None:
    """What the checked answers of a file are counted from; None where none of them is a number."""
    return next((example.counted_from for example in examples if example.counted_from is not None), None)


def can_be_counted(examples: Sequence[MultipleChoice], first: int) -> bool:
    """Whether all answers by number are choices where the first of these has that number."""
    return all(_is_choice(example, first) for example in examples)


def check_counted(examples: Sequence[MultipleChoice], first: int, mended: Mended | None) -> Sequence[MultipleChoice]:
    """The answers, counted from ``first`` in the file, counted from 0.

    Raises:
        InputError: an answer is the number of no choice, or the right choice is there twice.
    """
    kept = []
    for example in examples:
        answer = example.answer
        if example.counted_from is None or answer is None:
            here = example
        elif _is_choice(example, first):
            here = replace(example, answer=answer - first, counted_from=first)
        elif mended is not None:
            mended.add("answer that is none of the choices, left out", example.place)
            continue
        else:
            last = len(example.choices) - 1 + first
            raise example.place.error(f"the answer must be a choice from {first} to {last}; got {answer}")
        if _is_there_once(here):
            kept.append(here)
        elif mended is not None:
            mended.add("right choice that is there twice, left out", example.place)
        else:
            twice = here.choices[here.answer or 0]
            raise example.place.error(f"the right choice is there twice: {shown(twice)!r}")
    return kept


def _is_choice(example: MultipleChoice, first: int) -> bool:
    """Whether the answer, if it is a number, is one of a choice, the first of which has the number ``first``."""
    if example.counted_from is None or example.answer is None:
        return True
    return 0 <= example.answer - first < len(example.choices)


def _is_there_once(example: MultipleChoice) -> bool:
    return example.answer is None or example.choices.count(example.choices[example.answer]) == 1


def said_of_answers(examples: Sequence[MultipleChoice]) -> str:
    """What answers are counted from, in words; where nothing in the file shows it, that too."""
    counted = [example for example in examples if example.counted_from is not None]
    if not counted:
        return ""
    first = counted[0].counted_from
    unsure = first == 0 and all(example.answer != 0 for example in counted)
    return f"choices counted from {first}{', though no answer is 0' if unsure else ''}"


CHOICE = Form(
    "choice",
    (
        Field("question", names.QUESTION, "text"),
        Field("choices", names.CHOICES, required=False),
        Field("answer", names.CORRECT, "label", gold=True),
        Field("context", names.CONTEXT, required=False),
    ),
    _multiple_choice,
    check_answers,
    Counting(counted_from, can_be_counted, check_counted),
    said_of_answers,
    parted=("choices", CHOICES),
    also=_series,
)

"""Files of answers, one a model: what ``danlu generate --prompts`` or ``danlu predict`` writes, or others' lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from danlu.errors import InputError, shown, suggestion
from danlu.files import read_jsonl

PROMPT_FIELDS = ("prompt", "messages", "texts")
ANSWER_FIELDS = ("text", "answer", "response", "output", "completion", "prediction")
"""``text`` is what ``danlu generate`` writes, ``texts`` and ``prediction`` what ``danlu predict`` does; a line
has one of them, or its ``messages`` end with the assistant's."""


class Material(NamedTuple):
    """What is rated: ``answers[prompt][model]``, in the order of the first file."""

    models: tuple[str, ...]
    prompts: tuple[str, ...]
    answers: tuple[tuple[str, ...], ...]


class _Line(NamedTuple):
    number: int
    answer: str


def read_answers(files: Sequence[Path]) -> Material:
    """The answers of all models to the same prompts. A model goes by the name of its file; an empty answer is one too.

    Raises:
        InputError: a file is missing, named twice or damaged, lacks a prompt of another, has one twice, or a line has
            no answer.
    """
    models = _names(files)
    read = [_read(path) for path in files]
    for path, lines in zip(files[1:], read[1:], strict=True):
        _check_same(files[0], read[0], path, lines)
    return Material(
        tuple(models), tuple(read[0]), tuple(tuple(lines[prompt].answer for lines in read) for prompt in read[0])
    )


def _names(files: Sequence[Path]) -> list[str]:
    """The files' names without ending; of equal ones, with as many folders before them as tell them apart."""
    whole = [path.resolve().with_suffix("").parts for path in files]
    if twice := next((path for place, path in enumerate(files) if whole[place] in whole[:place]), None):
        raise InputError(f"{twice} is named twice; each model has a file of its own")
    parts = next(
        n for n in range(1, 1 + max(len(each) for each in whole)) if len({each[-n:] for each in whole}) == len(whole)
    )
    return ["/".join(each[-parts:]) for each in whole]


def _check_same(first: Path, known: Mapping[str, _Line], path: Path, lines: Mapping[str, _Line]) -> None:
    """Refuse two files of which one has a prompt that the other lacks."""
    for has, there, lacks, other in ((first, known, path, lines), (path, lines, first, known)):
        missing = [prompt for prompt in there if prompt not in other]
        if missing:
            many = f" (and {len(missing) - 1:,} more)" if len(missing) > 1 else ""
            where = f"{has}, line {there[missing[0]].number}"
            raise InputError(
                f"{lacks} has no answer to the prompt of {where}{many}: {shown(missing[0])!r}; "
                "answers are compared where all files have the same prompts"
            )


def _read(path: Path) -> dict[str, _Line]:
    if path.suffix.lower() != ".jsonl":
        raise InputError(
            f"{path} must be a .jsonl file of answers, as 'danlu generate --prompts' and 'danlu predict' write"
        )
    try:
        records = read_jsonl(path)
    except FileNotFoundError:
        near = sorted(str(each) for each in path.parent.glob("*.jsonl")) if path.parent.is_dir() else []
        raise InputError(f"there is no file {path}{suggestion(str(path), near[:10])}") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    if not records:
        raise InputError(f"{path} holds no answer")
    lines: dict[str, _Line] = {}
    for number, record in enumerate(records, start=1):
        where = f"{path}, line {number}"
        prompt, answer = _prompt_and_answer(record, where)
        if prompt in lines:
            raise InputError(f"{where}: the prompt of line {lines[prompt].number} is there again: {shown(prompt)!r}")
        lines[prompt] = _Line(number, answer)
    return lines


def _prompt_and_answer(record: Mapping[str, Any], where: str) -> tuple[str, str]:
    asked = _only(record, PROMPT_FIELDS, where, what="prompt")
    prompt = record[asked]
    if (
        asked == "messages"
        and isinstance(prompt, list)
        and not any(field in record for field in ANSWER_FIELDS)
        and prompt
        and isinstance(prompt[-1], dict)
        and prompt[-1].get("role") == "assistant"
    ):
        asked_text, answer = _text(prompt[:-1], f"{where}: {asked!r}"), prompt[-1:]
        answered = asked
    else:
        answered = _only(record, ANSWER_FIELDS, where, what="answer")
        asked_text, answer = _text(prompt, f"{where}: {asked!r}"), record[answered]
    if not asked_text.strip():
        raise InputError(f"{where}: {asked!r} is empty")
    alone = isinstance(answer, list) and len(answer) == 1
    return asked_text, _text(answer, f"{where}: {answered!r}", roles=not alone)


def _only(record: Mapping[str, Any], fields: Sequence[str], where: str, *, what: str) -> str:
    there = [field for field in fields if record.get(field) is not None]
    if len(there) == 1:
        return there[0]
    if there:
        raise InputError(f"{where} has {' and '.join(map(repr, there))}; which is the {what}?")
    near = next((hint for field in record if (hint := suggestion(field, fields)).startswith("; did")), None)
    raise InputError(f"{where} has no {what}{near or suggestion('', fields)}")


def _text(value: Any, where: str, *, roles: bool = True) -> str:
    """Text as it is; a conversation as its messages, each below the role that speaks; several texts in their order."""
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        value = "\n\n".join(value)
    if isinstance(value, list):
        messages = []
        for message in value:
            if not isinstance(message, dict) or not isinstance(message.get("content"), str):
                raise InputError(f"{where} must be text or messages with 'role' and 'content'; got {value!r:.60}")
            head = f"[{message.get('role', '?')}]\n" if roles else ""
            messages.append(f"{head}{message['content']}")
        value = "\n\n".join(messages)
    if not isinstance(value, str):
        raise InputError(f"{where} must be text; got {value!r:.40}")
    try:
        value.encode()
    except UnicodeEncodeError:  # JSON can spell half a surrogate pair, which is no character
        raise InputError(f"{where}: half a surrogate pair is no character") from None
    return value.replace("\r\n", "\n")

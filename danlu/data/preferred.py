"""Answers that people prefer to others, and answers that they found good or bad."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from danlu.data import names
from danlu.data.alike import same_texts
from danlu.data.chats import Message, Messages, check_turns, read_messages
from danlu.data.columns import Field
from danlu.data.example import Record, TaskExample
from danlu.data.form import Cells, Form
from danlu.data.found import EXAMPLES, Finding, quoted
from danlu.errors import shown

_TURN = re.compile(r"(?:^|\n\n)(Human|Assistant): ?")
_GOOD = {"true": True, "1": True, "1.0": True, "good": True, "yes": True,
         "false": False, "0": False, "0.0": False, "bad": False, "no": False}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Preference(Record):
    """What was said, an answer that was preferred, and another one."""

    prompt: Messages
    chosen: Messages
    rejected: Messages

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(message.content for message in self.prompt)

    @property
    def gold(self) -> tuple[str, str]:
        return _content(self.chosen), _content(self.rejected)


@dataclass(frozen=True, slots=True)
class Feedback(Record):
    """What was said, an answer, and whether it was found good (KTO: Ethayarajh et al. 2024, arXiv:2402.01306)."""

    prompt: Messages
    answer: Messages
    good: bool

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(message.content for message in (*self.prompt, *self.answer))

    @property
    def group(self) -> str:
        return "\n".join(message.content for message in self.prompt)

    @property
    def labels(self) -> tuple[str, ...]:
        return ("good" if self.good else "bad",)

    @property
    def gold(self) -> str:
        return self.labels[0]


def turned_preferences(splits: Mapping[str, Sequence[TaskExample]]) -> Iterator[Finding]:
    """Pairs of which the answer that is rejected is preferred where both stand again: one of the two is wrong."""
    before: dict[tuple[tuple[str, ...], tuple[str, str]], tuple[str, Preference]] = {}
    found: dict[tuple[str, ...], list[str]] = {}
    for name, examples in splits.items():
        for example in examples:
            if not isinstance(example, Preference):
                continue
            asked, (chosen, rejected) = same_texts(example.texts), example.gold
            before.setdefault((asked, (chosen, rejected)), (name, example))
            earlier, other = before.get((asked, (rejected, chosen)), ("", None))
            if other is not None:
                named = f"{quoted(example)} prefers {shown(chosen)!r}, but {shown(rejected)!r} in {other.place.short}"
                found.setdefault(tuple(dict.fromkeys((earlier, name))), []).append(named)
    for where, listed in found.items():
        pairs = "pair is" if len(listed) == 1 else "pairs are"
        across = f" in {where[0]}" if len(where) > 1 else ""
        what = f"{len(listed):,} {pairs} the other way round{across} where both answers stand again"
        yield Finding("conflict", where, len(listed), len(splits[where[-1]]), what, tuple(listed[: EXAMPLES + 1]))


def _preference(cells: Cells) -> Preference:
    said = {name: _answer(cells, name) for name in ("chosen", "rejected")}
    chosen, rejected = said.values()
    if "prompt" in cells.columns:
        prompt = _prompt(cells)
        chosen, rejected = (_behind(cells, name, each, prompt) for name, each in said.items())
    else:  # both are whole conversations that begin alike
        same = 0
        while same < min(len(chosen), len(rejected)) - 1 and chosen[same] == rejected[same]:
            same += 1
        prompt, chosen, rejected = chosen[:same], chosen[same:], rejected[same:]
        if not prompt:
            raise cells.place.error("chosen and rejected have no message in common, and no column holds the prompt")
    if chosen == rejected:
        raise cells.error("rejected", f"is the same as what was chosen: {shown(_content(chosen))!r}")
    for name, answer in (("chosen", chosen), ("rejected", rejected)):
        check_turns(cells, (*prompt, *answer), called=name)
        if answer[-1].role != "assistant":
            raise cells.error(name, f"must end with an assistant's message; it ends with {answer[-1].role!r}")
    return Preference(cells.place, prompt, chosen, rejected)


def _behind(cells: Cells, field: str, answer: Messages, prompt: Messages) -> Messages:
    """An answer without the prompt that it repeats, as UltraFeedback's do."""
    if answer[: len(prompt)] == prompt:
        answer = answer[len(prompt) :]
    if not answer or answer[0].role != "assistant":
        role = answer[0].role if answer else "no one"
        reason = f"goes on with a message of {role!r} behind the prompt, where an assistant's has to"
        raise cells.error(field, f"{reason}; where it is a whole conversation, it must begin with the prompt")
    return answer


def _feedback(cells: Cells) -> Feedback:
    value = cells.value("good")
    good = value if isinstance(value, bool) else _GOOD.get(str(value).strip().lower())
    if good is None:
        raise cells.error("good", f"must be true or false; got {shown(repr(value))}")
    prompt: Messages
    answer: Messages
    if cells.has("response"):
        prompt = _prompt(cells)
        answer = _behind(cells, "response", _answer(cells, "response"), prompt)
    else:
        messages = read_messages(cells, "prompt")
        prompt, answer = messages[:-1], messages[-1:]
        if answer[0].role != "assistant" or not prompt:
            raise cells.error("prompt", "must end with an assistant's message, or a column has to hold the response")
    check_turns(cells, (*prompt, *answer), called="prompt")
    return Feedback(cells.place, prompt, answer, good)


def _prompt(cells: Cells) -> Messages:
    value = cells.value("prompt")
    system = (Message("system", cells.text("system")),) if cells.has("system") else ()
    if not isinstance(value, str) or value.lstrip()[:2] in ("[{", "[ "):
        return (*system, *read_messages(cells, "prompt"))
    return (*system, *(_of_anthropic(value) or (Message("user", cells.text("prompt")),)))


def _answer(cells: Cells, field: str) -> Messages:
    """Messages; or of a text one answer, or a conversation with Human: and Assistant: (arXiv:2204.05862)."""
    value = cells.value(field)
    if not isinstance(value, str) or value.lstrip()[:2] == "[{":
        return read_messages(cells, field)
    return _of_anthropic(value) or (Message("assistant", cells.text(field)),)


def _of_anthropic(text: str) -> Messages:
    r"""The messages of ``\n\nHuman: … \n\nAssistant: …``; of any other text none. Empty ones at the end are none."""
    parts = _TURN.split(text)
    if not text.startswith("\n\nHuman:") or parts[0].strip():
        return ()
    roles = {"Human": "user", "Assistant": "assistant"}
    turns = [Message(roles[role], said.strip()) for role, said in zip(parts[1::2], parts[2::2], strict=True)]
    return tuple(turn for place, turn in enumerate(turns) if turn.content or place < len(turns) - 1)


def _content(messages: Messages) -> str:
    return "\n\n".join(message.content for message in messages)


_SYSTEM = Field("system", names.SYSTEM, required=False)

PREFER = Form(
    "prefer",
    (
        Field("chosen", names.CHOSEN, gold=True),
        Field("rejected", names.REJECTED, gold=True),
        Field("prompt", (*names.INSTRUCTION, *names.MESSAGES), required=False),
        _SYSTEM,
    ),
    _preference,
)
FEEDBACK = Form(
    "feedback",
    (
        Field("prompt", (*names.INSTRUCTION, *names.MESSAGES)),
        Field("response", names.RESPONSE, required=False),
        Field("good", names.GOOD, gold=True),
        _SYSTEM,
    ),
    _feedback,
)

"""Conversations: Alpaca's instructions, ShareGPT's conversations, OpenAI's messages, columns of questions and answers.

All become messages of the roles ``system``, ``user``, ``assistant`` and ``tool``, in the form of OpenAI's.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from danlu.data import names
from danlu.data.columns import Field
from danlu.data.example import Record
from danlu.data.form import Cells, Form
from danlu.data.literals import literal
from danlu.errors import shown, suggestion

ROLES = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant", "model": "assistant",
    "function_call": "assistant",
    "tool": "tool", "observation": "tool", "function": "tool", "ipython": "tool",
}  # fmt: skip
"""What files call a role, and what it is called here."""


@dataclass(frozen=True, slots=True)
class Message:
    """Something that one side says; ``calls``, in JSON, are the tools that an assistant calls, with objects as
    arguments: OpenAI spells these as text, but servers hand templates what the text says."""

    role: str
    content: str
    calls: str = ""
    learned: bool = True
    """Whether an assistant's message is to be learned: False where the file says OpenAI's ``weight: 0``."""

    def as_openai(self) -> dict[str, Any]:
        """The mapping that chat templates read."""
        calls = {"tool_calls": json.loads(self.calls)} if self.calls else {}
        return {"role": self.role, "content": self.content, **calls}


Messages = tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Chat(Record):
    """A conversation; its last message is an assistant's, but where the file did not have to say it."""

    messages: Messages
    tools: str = ""
    """Descriptions of the tools that may be called, in JSON."""

    @property
    def texts(self) -> tuple[str, ...]:
        """What is said before the last answer."""
        ends = self.messages[-1].role == "assistant"
        return tuple(message.content for message in (self.messages[:-1] if ends else self.messages))

    @property
    def group(self) -> str:
        return next(message.content for message in self.messages if message.role == "user")

    @property
    def gold(self) -> str | None:
        return self.messages[-1].content if self.messages[-1].role == "assistant" else None


def _chat(cells: Cells) -> Chat:
    messages = _system(cells, read_messages(cells, "messages") if cells.has("messages") else _turns(cells))
    check_turns(cells, messages, called="messages")
    if cells.gold and messages[-1].role != "assistant":
        raise cells.place.error(f"the last message is of the role {messages[-1].role!r}; an assistant's has to end it")
    if cells.gold and not any(message.role == "assistant" and message.learned for message in messages):
        raise cells.place.error("no message of the assistant's is to be learned: each has a weight of 0")
    return Chat(cells.place, messages, _tools(cells))


def _tools(cells: Cells) -> str:
    """As JSON, which a cell may hold as text or as what it says."""
    tools = cells.value("tools")
    try:
        said = json.loads(tools or "[]") if isinstance(tools, str) else tools
    except (ValueError, RecursionError):
        raise cells.error("tools", f"must be JSON; got {shown(repr(tools))}") from None
    if not said:
        return tools if isinstance(tools, str) else ""
    if not isinstance(said, list) or not all(isinstance(each, Mapping) for each in said):
        raise cells.error("tools", f"must be a list of tools in JSON; got {shown(repr(tools))}")
    return tools if isinstance(tools, str) else json.dumps(tools)


def _turns(cells: Cells) -> Messages:
    """Alpaca's instruction with its input below it, and what was said before them."""
    if "instruction" not in cells.columns:
        raise cells.place.error(
            "there is no conversation: name a column in columns.messages, or in columns.instruction and "
            f"columns.response; it has {', '.join(cells.row.cells)}"
        )
    before = cells.listed("history") or []
    if not isinstance(before, list) or not all(isinstance(turn, list | tuple) and len(turn) == 2 for turn in before):
        raise cells.error("history", f"must be a list of pairs of question and answer; got {shown(repr(before))}")
    turns = [(cells.checked("history", one), cells.checked("history", other)) for one, other in before]
    earlier = [message for one, other in turns for message in (Message("user", one), Message("assistant", other))]
    said = (*earlier, *_asked(cells))
    if not cells.gold and not cells.has("response"):
        return said
    if _are_messages(cells.value("response")):
        return (*said, *read_messages(cells, "response"))
    return (*said, Message("assistant", cells.text("response")))


def _asked(cells: Cells) -> Messages:
    """An instruction with its input below it; or messages, as files for ``trl`` have them."""
    if _are_messages(cells.value("instruction")):
        return read_messages(cells, "instruction")
    asked = cells.text("instruction")
    if cells.has("input") and str(cells.value("input")).strip():
        asked = f"{asked}\n{cells.text('input')}"
    return (Message("user", asked),)


def _are_messages(value: Any) -> bool:
    """Whether it is a list of messages; an answer may be a list of other things in JSON."""
    found = literal(value) if isinstance(value, str) else value
    return isinstance(found, list) and bool(found) and all(
        isinstance(each, Mapping)
        and (("role" in each and ("content" in each or "tool_calls" in each)) or ("from" in each and "value" in each))
        for each in found
    )  # fmt: skip


def _system(cells: Cells, messages: Messages) -> Messages:
    """The messages, with the system's column before them where there is one."""
    if not cells.has("system"):
        return messages
    if messages[0].role == "system":
        raise cells.error("system", "is there beside a message of the role 'system'")
    return (Message("system", cells.text("system")), *messages)


def read_messages(cells: Cells, field: str) -> Messages:
    """Messages as OpenAI's (role, content) or ShareGPT's (from, value); one alone, a mapping, is a list of one.

    Raises:
        InputError: a message lacks role or content, or its role is unknown.
    """
    value = cells.value(field)
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):  # a cell of a table
        found = literal(value)
        try:
            value = json.loads(value) if found is None else found
        except (ValueError, RecursionError) as error:
            raise cells.error(field, f"is not JSON: {error}") from None
    value = [value] if isinstance(value, Mapping) else value
    if not isinstance(value, list) or not value:
        raise cells.error(field, f"must be a list of messages; got {shown(repr(value))}")
    return tuple(_message(cells, field, message, number) for number, message in enumerate(value, 1))


def _message(cells: Cells, field: str, message: Any, number: int) -> Message:
    if not isinstance(message, Mapping):
        raise cells.error(field, f"has a message {number} that is no object: {shown(repr(message))}")
    said, content = message.get("role", message.get("from")), message.get("content", message.get("value"))
    role = ROLES.get(said.strip().lower()) if isinstance(said, str) else None
    if role is None:
        near = suggestion(str(said), ROLES)
        raise cells.error(field, f"has a message {number} of the role {shown(repr(said))}{near}")
    if isinstance(content, list):  # OpenAI's parts
        parts = [part.get("text") if isinstance(part, Mapping) else None for part in content]
        if not all(isinstance(part, str) for part in parts):
            raise cells.error(field, f"has a message {number} that is more than text")
        content = "".join(str(part) for part in parts)
    calls = message.get("tool_calls") or _function_call(cells, field, number, str(said).lower(), content)
    if calls:
        calls = _checked_calls(cells, field, number, calls)
        text = content if isinstance(content, str) and message.get("tool_calls") else ""
        learned = _is_learned(cells, field, message, number)
        return Message(role, cells.characters(field, text), json.dumps(calls, ensure_ascii=False), learned)
    if not isinstance(content, str) or not content.strip():
        what = "is empty" if isinstance(content, str) else f"must be text; got {shown(repr(content))}"
        raise cells.error(field, f"has a message {number}, of {said}, whose content {what}")
    return Message(role, cells.characters(field, content), learned=_is_learned(cells, field, message, number))


def _is_learned(cells: Cells, field: str, message: Mapping[str, Any], number: int) -> bool:
    weight = message.get("weight")
    if weight not in (None, 0, 1):
        raise cells.error(field, f"has a message {number} whose weight must be 0 or 1; got {shown(repr(weight))}")
    return weight != 0


def _function_call(cells: Cells, field: str, number: int, said: str, content: Any) -> list[Any]:
    """ShareGPT's call of a tool, or of several, in OpenAI's form; of any other message none."""
    if said != "function_call":
        return []
    try:
        calls = json.loads(content) if isinstance(content, str) else content
    except ValueError as error:
        raise cells.error(field, f"has a message {number} whose call of a tool is not JSON: {error}") from None
    calls = calls if isinstance(calls, list) else [calls]
    return [{"type": "function", "function": call} for call in calls] or [content]


def _checked_calls(cells: Cells, field: str, number: int, calls: Any) -> list[dict[str, Any]]:
    """Calls in OpenAI's form, or of a name and arguments alone, with objects for arguments that are spelled as JSON."""
    if not isinstance(calls, list):
        raise cells.error(
            field, f"has a message {number} whose tool_calls must be a list of calls; got {shown(repr(calls))}"
        )
    found = []
    for call in calls:
        of = call.get("function", call) if isinstance(call, Mapping) else None
        if not isinstance(of, Mapping) or not isinstance(of.get("name"), str):
            raise cells.error(field, f"has a message {number} whose call of a tool has no name: {shown(repr(call))}")
        of = dict(of)
        if "arguments" in of:
            of["arguments"] = _arguments(cells, field, number, of)
        found.append({**call, "function": of} if "function" in call else of)
    return found


def _arguments(cells: Cells, field: str, number: int, call: Mapping[str, Any]) -> Any:
    said = call["arguments"]
    try:
        found = json.loads(said or "{}") if isinstance(said, str) else {} if said is None else said
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, Mapping):
        wrong = f"arguments that are no object in JSON: {shown(repr(said))}"
        raise cells.error(field, f"has a message {number} whose call of {shown(call['name'])!r} has {wrong}")
    return found


def check_turns(cells: Cells, messages: Sequence[Message], *, called: str) -> None:
    """Refuse messages that chat templates cannot render: a system's that is not the first, two of a side in a row.

    Raises:
        InputError: which message it is.
    """
    rest = messages[1:] if messages[0].role == "system" else messages
    first = len(messages) - len(rest) + 1
    if not rest or rest[0].role != "user":
        role = rest[0].role if rest else "system"
        raise cells.error(called, f"must begin with a user's; message {first} is of the role {role!r}")
    for number, (before, message) in enumerate(itertools.pairwise(rest), first + 1):
        if message.role == "system":
            raise cells.error(called, f"has a system's message at {number}; it can only be the first")
        if message.role == "tool" and before.role != "tool" and not before.calls:
            raise cells.error(called, f"has a tool's message at {number}, though no tool was called before it")
        if message.role == before.role != "tool":
            both = f"{number - 1} and {number}"
            raise cells.error(called, f"has two messages in a row of the role {message.role!r}, {both}")
        if message.role == "user" and before.role == "tool":
            raise cells.error(called, f"has a user's message right behind a tool's, at {number}")


CHAT = Form(
    "chat",
    (
        Field("messages", names.MESSAGES, required=False),
        Field("instruction", names.INSTRUCTION, required=False),
        Field("input", names.INPUT, required=False),
        Field("response", names.RESPONSE, gold=True, required=False),
        Field("system", names.SYSTEM, required=False),
        Field("history", names.HISTORY, required=False),
        Field("tools", names.TOOLS, required=False),
    ),
    _chat,
)

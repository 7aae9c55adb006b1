"""Prompts that a model shall answer, with all that their file says beside: conversations without the last answer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from danlu.data.chats import CHAT, Chat, Messages
from danlu.data.example import Record
from danlu.data.form import Cells, Form


@dataclass(frozen=True, slots=True)
class Asked(Record):
    """What was said before an answer; where the file has an answer, it is only a column like others."""

    prompt: Messages
    tools: str
    """Descriptions of the tools that may be called, in JSON."""
    columns: Mapping[str, Any]
    """The whole row by the file's own names."""

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(message.content for message in self.prompt)

    @property
    def gold(self) -> None:
        """Nothing: an answer is as good as its reward."""
        return None

    def answered(self, *answer: Any) -> Chat:
        """The conversation with these messages behind it."""
        return Chat(self.place, (*self.prompt, *answer), self.tools)


def _asked(cells: Cells) -> Asked:
    chat = CHAT.read(replace(cells, gold=False))
    prompt = chat.messages[:-1] if chat.messages[-1].role == "assistant" else chat.messages
    return Asked(cells.place, prompt, chat.tools, dict(cells.row.cells))


def _all(columns: Collection[str]) -> Collection[str]:
    """Every column: a reward may look at any."""
    return columns


ASKED = Form("asked", tuple(field for field in CHAT.fields if field.name != "response"), _asked, also=_all)

"""Conversations as a model reads them: token ids by the chat template, and which of them an assistant says.

What is learned has to be what is met later: a server renders the messages so far, and the model goes on from there.
So of every conversation the text before each answer is rendered as a server would, and must be, character by character
and token by token, the beginning of the whole. Axes: T tokens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from danlu.corpus.rows import Ints
from danlu.data.chats import Chat
from danlu.errors import InputError, RecipeError
from danlu.tokenizers.chat_reader import ChatReader


class Turn(NamedTuple):
    """An answer: the places of its tokens, the one that ends it included."""

    start: int
    end: int


class Transcript(NamedTuple):
    """A conversation."""

    tokens: Ints
    """``[T]``, up to the end of the last answer."""
    turns: tuple[Turn, ...]
    """The answers that are scored; none where one begins with a token that a server would never see so begun."""


class _Texts(NamedTuple):
    """What is rendered of one conversation."""

    whole: str
    answers: list[tuple[str, str]]
    """The text before each answer that is scored, and that up to its end."""


class Transcriber(ChatReader):
    """A chat template of which one can tell where an answer ends, and a tokenizer."""

    @classmethod
    def load(cls, folder: Path, template: str | None) -> Self:
        """The tokenizer in ``folder``, with its own template or another.

        Raises:
            InputError: a file cannot be read.
            RecipeError: there is no such template, or nobody could tell where its answers end.
        """
        found = super().load(folder, template)
        if not found.ends:
            raise RecipeError(
                f"{found.template.where} ends an answer with no special token of this tokenizer, so that nobody could "
                f"tell where a written one ends; the template plain does with any tokenizer"
            )
        return found

    def spelled(self, chat: Chat) -> str | None:
        """A special token that somebody in the conversation spells out, which is then read as one."""
        added = self.tokenizer.get_added_tokens_decoder()
        contents = [added[token].content for token in self.special]
        return next((each for each in contents if any(each in message.content for message in chat.messages)), None)

    def begin(self, chat: Chat) -> list[int]:
        """What a server gives the model to have the conversation's last answer written, or the next one."""
        messages = chat.messages[:-1] if chat.gold is not None else chat.messages
        plain = [message.as_openai() for message in messages]
        return self.encode([self._render(chat, plain, ask=True)])[0]

    def whole(self, chats: Sequence[Chat]) -> list[Ints]:
        """``[T]`` of each conversation, to the end of what the template renders.

        Raises:
            InputError: it cannot render one.
        """
        texts = [self._render(chat, [message.as_openai() for message in chat.messages]) for chat in chats]
        return [np.array(ids, dtype=np.int64) for ids in self.encode(texts)]

    def read(self, chats: Sequence[Chat], *, apart: bool) -> list[list[Transcript]]:
        """One transcript of each conversation; ``apart``, one of each answer, that of a server which was asked for it.

        Raises:
            InputError: the template cannot render a conversation.
            RecipeError: of a conversation it renders a part otherwise than within the whole.
        """
        texts = [self._texts(chat, apart=apart) for chat in chats]
        flat = [each for of_chat in texts for each in of_chat]
        wholes = self.encode([each.whole for each in flat])
        parts = iter(self.encode([text for each in flat for pair in each.answers for text in pair]))
        transcripts = iter([
            self._transcript(whole, [(next(parts), next(parts)) for _ in each.answers])
            for each, whole in zip(flat, wholes, strict=True)
        ])  # fmt: skip
        return [[next(transcripts) for _ in of_chat] for of_chat in texts]

    def _texts(self, chat: Chat, *, apart: bool) -> list[_Texts]:
        messages = [message.as_openai() for message in chat.messages]
        said = enumerate(chat.messages)
        places = [place for place, message in said if message.role == "assistant" and message.learned]
        pairs = [
            (self._render(chat, messages[:place], ask=True), self._render(chat, messages[: place + 1]))
            for place in places
        ]
        if apart:
            found = [_Texts(upto, [(before, upto)]) for before, upto in pairs]
        else:
            found = [_Texts(self._render(chat, messages), pairs)]
        for each in found:
            for place, pair in zip(places, each.answers, strict=False):
                for text in pair:
                    if not each.whole.startswith(text):
                        raise RecipeError(self._otherwise(chat, place, text, each.whole, apart=apart))
        return found

    def _otherwise(self, chat: Chat, place: int, text: str, whole: str, *, apart: bool) -> str:
        same = next(at for at, pair in enumerate(zip(text, f"{whole}\0", strict=False)) if pair[0] != pair[1])
        got, wanted = text[same : same + 20], whole[same : same + 20]
        advice = "" if apart else "; with task.turns apart each answer is learned as a server asks for it"
        return (
            f"{chat.place}: {self.template.where} renders the messages up to {place + 1} otherwise than at the "
            f"beginning of the whole: {got!r} in place of {wanted!r}{advice}"
        )

    def _transcript(self, whole: list[int], pairs: Sequence[tuple[list[int], list[int]]]) -> Transcript:
        turns = []
        for before, upto in pairs:
            last = max((place for place in range(len(before), len(upto)) if upto[place] in self.special), default=-1)
            if whole[: len(before)] != before or last < 0 or whole[: last + 1] != upto[: last + 1]:
                return Transcript(np.array([], dtype=np.int64), ())
            turns.append(Turn(len(before), last + 1))
        return Transcript(np.array(whole[: turns[-1].end], dtype=np.int64), tuple(turns))

    def _render(self, chat: Chat, messages: Sequence[Any], *, ask: bool = False) -> str:
        tools = json.loads(chat.tools) if chat.tools else ()
        try:
            return self.template.render(messages, tools=tools, ask=ask)
        except InputError as error:
            try:  # some, as DeepSeek's, put what a tool is called with into their text as it is
                return self.template.render([_with_spelled(each) for each in messages], tools=tools, ask=ask)
            except InputError:
                raise InputError(f"{chat.place}: {error}") from None


def _with_spelled(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """A message whose calls of tools have arguments in JSON, as OpenAI's have, and no objects."""
    calls = [
        {**call, "function": {**of, "arguments": json.dumps(of["arguments"], ensure_ascii=False)}}
        if isinstance(of := call.get("function"), Mapping) and "arguments" in of else call
        for call in message.get("tool_calls", ())
    ]  # fmt: skip
    return {**message, "tool_calls": calls} if calls else message

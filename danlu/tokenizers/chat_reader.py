"""What a model reads of a conversation: token ids, by a chat template, as servers give them to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import tokenizers

from danlu.tokenizers.chat_template import ChatTemplate, own_source, read_template
from danlu.tokenizers.folder import read_tokenizer

TRIAL = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
"""A conversation by which one sees how answers end."""


@dataclass(frozen=True)
class ChatReader:
    """A chat template and a tokenizer."""

    template: ChatTemplate
    tokenizer: tokenizers.Tokenizer
    """It reads special tokens as such, wherever they stand in the rendered text, as servers do."""

    @classmethod
    def load(cls, folder: Path, template: str | None) -> Self:
        """The tokenizer in ``folder``, with its own template or another.

        Raises:
            InputError: a file cannot be read.
            RecipeError: there is no such template.
        """
        tokenizer = read_tokenizer(folder)[0]
        tokenizer.encode_special_tokens = False
        return cls(read_template(folder, template), tokenizer)

    @cached_property
    def special(self) -> frozenset[int]:
        """Special tokens."""
        return frozenset(id for id, token in self.tokenizer.get_added_tokens_decoder().items() if token.special)

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """The token that ends an answer; none where the template writes none."""
        before = len(self.asked(TRIAL[:1]))
        said = self.encode([self.template.render(TRIAL)])[0][before:]
        return tuple(token for token in said if token in self.special)[-1:]

    def asked(self, messages: Sequence[Mapping[str, Any]], *, tools: Sequence[Any] = (), begun: str = "") -> list[int]:
        """What the model goes on from to answer the last of ``messages``.

        Args:
            begun: what it has answered so far.

        Raises:
            InputError: the template refuses these messages.
        """
        return self.encode([self.template.render(messages, tools=tools, ask=True) + begun])[0]

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of rendered texts."""
        return [each.ids for each in self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]


def has_template(folder: Path) -> bool:
    """Whether the folder says how messages become text.

    Raises:
        InputError: a file cannot be read.
    """
    return own_source(folder, read_tokenizer(folder)[1]) is not None

"""Answers that match a regular expression or a JSON schema: which tokens may come next, step by step.

The grammar work is llguidance's (``docs/decisions/0012-constrained-generation.md``); it knows tokens as bytes, so
that any tokenizer will do, and characters that are spread over tokens too. JSON is written without spaces
between its parts, which a schema says nothing of. Axis: V vocabulary.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from danlu.errors import InputError
from danlu.optional import optional
from danlu.tokenizers.tokenizer import Tokenizer


class Constraint:
    """What one answer has to match, and how far it has come.

    Args:
        grammar: in llguidance's words.
        ends: tokens that end an answer; they are allowed where the answer is whole, other special tokens never.

    Raises:
        InputError: no token of the vocabulary begins such an answer.
    """

    def __init__(self, tokenizer: Tokenizer, grammar: str, *, ends: Iterable[int], begun: bool) -> None:
        self._tokenizer, self._grammar, self._begun = tokenizer, grammar, begun or tokenizer.begins_as_it_goes_on
        self._matcher = _matcher(tokenizer, grammar, first=not self._begun)
        self._eot, self._unknown = tokenizer.eot, tokenizer.unknown
        self._vocab_size = tokenizer.vocab_size
        self._ends = sorted(end for end in ends if end < tokenizer.vocab_size) or [tokenizer.eot]
        self.allowed_V = self._mask()
        """Booleans: the tokens that may come next."""
        if self.stuck:
            raise InputError("no token of the vocabulary begins an answer that follows regex or json_schema")

    def take(self, token: int) -> None:
        """Go on behind ``token``, which was allowed."""
        taken = self._matcher.consume_token(token)
        assert taken, self._matcher.get_error()
        if not self._begun:  # the tokens behind the first are written otherwise
            written = self._tokenizer.token_bytes(token, first=True)
            self._begun, self._matcher = True, _matcher(self._tokenizer, self._grammar, first=False)
            self._matcher.consume_tokens(_known(self._tokenizer, first=False).tokenize_bytes(written))
        self.allowed_V = self._mask()

    @property
    def complete(self) -> bool:
        """Whether the answer is whole, and nothing can come behind it."""
        return bool(self.allowed_V[self._ends[0]]) and int(self.allowed_V.sum()) == len(self._ends)

    @property
    def stuck(self) -> bool:
        """Whether nothing can come next, which is so only where the vocabulary lacks a character."""
        return not bool(self.allowed_V.any())

    def _mask(self) -> Tensor:
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        if self._matcher.is_error():
            raise InputError(f"regex or json_schema cannot be followed: {_reason(self._matcher.get_error())}")
        allowed_V = torch.from_numpy(np.unpackbits(bits, bitorder="little", count=self._vocab_size).astype(bool))
        whole = bool(allowed_V[self._eot])
        if self._unknown is not None:
            allowed_V[self._unknown] = False  # where only what cannot be written may come next
        allowed_V[self._eot] = False
        allowed_V[self._ends] = whole
        return allowed_V


def constraint_of(
    tokenizer: Tokenizer,
    *,
    ends: Iterable[int],
    regex: str | None,
    json_schema: dict[str, Any] | None,
    begun: bool = True,
) -> Constraint | None:
    """The constraint that a new answer is held to; None where there is none.

    Args:
        begun: whether the answer goes on from a text, as a decoder's does; at the beginning of one, tokens of
            SentencePiece lose the space before them.

    Raises:
        InputError: llguidance is not installed, or nothing of the vocabulary begins such an answer.
    """
    if regex is None and json_schema is None:
        return None
    grammar = _of_regex(regex) if regex is not None else _of_schema(json.dumps(json_schema, ensure_ascii=False))
    return Constraint(tokenizer, grammar, ends=ends, begun=begun)


def check_regex(regex: str) -> None:
    """Raise a ``ValueError`` that says why the expression cannot be followed, where it cannot."""
    _check(_of_regex(regex))


def check_json_schema(schema: dict[str, Any]) -> None:
    """Raise a ``ValueError`` that says why the schema cannot be followed, where it cannot."""
    _check(_of_schema(json.dumps(schema, ensure_ascii=False)))


def _check(grammar: str) -> None:
    error = _library().LLMatcher.validate_grammar(grammar)
    if error:
        raise ValueError(_reason(error))


def _of_regex(regex: str) -> str:
    grammar: str = _library().LLMatcher.grammar_from_regex(regex)
    return grammar


def _of_schema(schema: str) -> str:
    grammar: str = _library().LLMatcher.grammar_from_json_schema(schema, overrides={"whitespace_flexible": False})
    return grammar


def _reason(error: str) -> str:
    """What is wrong, out of several lines that show where."""
    said = re.search(r"^error: (.*)$", error, re.MULTILINE)
    return said[1] if said else re.sub(r"^at .* \(in regex\): ", "", error.strip().splitlines()[0])


def _library() -> Any:
    return optional("llguidance", purpose="an answer that follows regex or json_schema")


class _Vocabulary:
    """A tokenizer as llguidance wants to see one: with a token for every byte, the missing ones behind all others."""

    def __init__(self, tokenizer: Tokenizer, *, first: bool) -> None:
        self._tokenizer = tokenizer
        self.eos_token_id = tokenizer.eot
        self.bos_token_id = None
        tokens = [tokenizer.token_bytes(id, first=first) for id in range(tokenizer.vocab_size)]
        self.tokens = tokens + sorted({bytes([byte]) for byte in range(256)} - set(tokens))
        self.special_token_ids = [id for id, token in enumerate(tokens) if not token or id == tokenizer.unknown]
        self._special = frozenset(self.special_token_ids)
        self._id_of = {token: id for id, token in enumerate(self.tokens) if id not in self._special}
        self._longest = max(map(len, self._id_of))

    def __call__(self, text: bytes | str) -> list[int]:
        """The usual tokens of a text; the longest that fit where these would write another text."""
        content = text if isinstance(text, bytes) else text.encode()
        usual = self._tokenizer.encode(content.decode(errors="replace"))
        written = b"".join(self.tokens[id] for id in usual)
        return usual if written == content and self._special.isdisjoint(usual) else self._greedy(content)

    def _greedy(self, content: bytes) -> list[int]:
        ids, place = [], 0
        while place < len(content):
            length = next(
                length for length in range(self._longest, 0, -1) if content[place : place + length] in self._id_of
            )
            ids.append(self._id_of[content[place : place + length]])
            place += length
        return ids


@functools.lru_cache(maxsize=4)
def _known(tokenizer: Tokenizer, *, first: bool) -> Any:
    """The tokenizer in llguidance's form, which takes a second to make of a large vocabulary."""
    library = _library()
    return library.LLTokenizer(library.TokenizerWrapper(_Vocabulary(tokenizer, first=first)))


def _matcher(tokenizer: Tokenizer, grammar: str, *, first: bool) -> Any:
    return _library().LLMatcher(_known(tokenizer, first=first), grammar, log_level=0)

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
        matcher: llguidance's, at the beginning of the answer.
        ends: tokens that end an answer; they are allowed where the answer is whole, other special tokens never.

    Raises:
        InputError: no token of the vocabulary begins such an answer.
    """

    def __init__(self, matcher: Any, tokenizer: Tokenizer, *, ends: Iterable[int]) -> None:
        self._matcher, self._eot, self._unknown = matcher, tokenizer.eot, tokenizer.unknown
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
    tokenizer: Tokenizer, *, ends: Iterable[int], regex: str | None, json_schema: dict[str, Any] | None
) -> Constraint | None:
    """The constraint that a new answer is held to; None where there is none.

    Raises:
        InputError: llguidance is not installed, or nothing of the vocabulary begins such an answer.
    """
    if regex is None and json_schema is None:
        return None
    grammar = _of_regex(regex) if regex is not None else _of_schema(json.dumps(json_schema, ensure_ascii=False))
    matcher = _library().LLMatcher(_known(tokenizer), grammar, log_level=0)
    return Constraint(matcher, tokenizer, ends=ends)


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

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.eos_token_id = tokenizer.eot
        self.bos_token_id = None
        tokens = [tokenizer.token_bytes(id) for id in range(tokenizer.vocab_size)]
        self.tokens = tokens + sorted({bytes([byte]) for byte in range(256)} - set(tokens))
        self.special_token_ids = [id for id, token in enumerate(tokens) if not token or id == tokenizer.unknown]

    def __call__(self, text: bytes | str) -> list[int]:
        return self._tokenizer.encode(text.decode(errors="replace") if isinstance(text, bytes) else text)


@functools.lru_cache(maxsize=4)
def _known(tokenizer: Tokenizer) -> Any:
    """The tokenizer in llguidance's form, which takes a second to make of a large vocabulary."""
    library = _library()
    return library.LLTokenizer(library.TokenizerWrapper(_Vocabulary(tokenizer)))

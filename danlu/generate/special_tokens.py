"""Tokens that are no text: what a text begins with, what ends an answer, what a decoder starts from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from danlu.errors import CheckpointError, InputError
from danlu.nn.config import TransformerConfig
from danlu.nn.hf.config_file import ConfigFile
from danlu.tokenizers.tokenizer import Tokenizer


class Begun(NamedTuple):
    """A prompt in tokens."""

    context: list[int]
    """What an answer goes on from, one token at least."""
    source: list[int] | None
    """For the encoder, where there is one."""


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """What goes around the texts that a model reads and writes."""

    before: tuple[int, ...]
    """Before every prompt or source text."""
    after: tuple[int, ...]
    """Behind a source text; a prompt goes on."""
    ends: frozenset[int]
    """An answer ends with any of these."""
    start: int | None = None
    """What a decoder with an encoder starts from; None where there is no encoder."""
    first: int | None = None
    """The first token of every answer, where the model has been trained to have one (BART for many languages)."""
    last: int | None = None
    """The last token of an answer that reaches its greatest length (BART)."""

    @classmethod
    def of(cls, tokenizer: Tokenizer, config: TransformerConfig) -> SpecialTokens:
        """What the tokenizer alone says.

        The tokenizer's own template, as Llama's and BERT's have one; else the token that begins a document
        where it is also the one that ends it, as in training.
        """
        before, after = tokenizer.template()
        both = config.encoder is not None
        if not before and tokenizer.bos == tokenizer.eot and not both:
            before = [tokenizer.eot]
        if not after and both:
            after = [tokenizer.eot]
        start = tokenizer.eot if both else None
        return cls(tuple(before), tuple(after), frozenset([tokenizer.eot]), start)

    @classmethod
    def read(cls, folder: Path, tokenizer: Tokenizer, config: TransformerConfig) -> SpecialTokens:
        """What the tokenizer says, and ``generation_config.json`` or else ``config.json``, as for ``transformers``.

        Raises:
            InputError: a file cannot be read.
            CheckpointError: a file is damaged, or names a token that the model does not have; one that answers must
                hold is a token of the tokenizer, for nothing else is written.
        """
        whole = ConfigFile.load(folder)
        path = folder / "generation_config.json"
        file = ConfigFile(path, _read(path)) if path.exists() else whole
        known = cls.of(tokenizer, config)
        ends = frozenset(_tokens(file, "eos_token_id", config.vocab_size)) or known.ends
        if known.start is None:
            return cls(known.before, known.after, ends)
        start = next(
            (
                token
                for each, key in (
                    (file, "decoder_start_token_id"),
                    (whole, "decoder_start_token_id"),
                    (file, "bos_token_id"),
                )
                for token in _tokens(each, key, config.vocab_size)[:1]
            ),
            known.start,
        )
        first, last = (
            next(iter(_tokens(file, f"forced_{key}_token_id", tokenizer.vocab_size)), None) for key in ("bos", "eos")
        )
        return cls(known.before, known.after, ends, start, first, last)

    def begin(self, tokenizer: Tokenizer, prompt: str | Begun) -> Begun:
        """The tokens that an answer to ``prompt`` goes on from, and the source for the encoder where there is one."""
        if isinstance(prompt, Begun):
            return prompt
        return self.around(tokenizer.encode(prompt), tokenizer.eot)

    def around(self, ids: Sequence[int], eot: int) -> Begun:
        """The same of a prompt whose own tokens are known; ``eot`` begins one that has none."""
        if self.start is not None:
            return Begun([self.start], [*self.before, *ids, *self.after])
        return Begun([*self.before, *ids] or [eot], None)


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} must hold a JSON object; got {type(values).__name__}")
    return values


def _tokens(file: ConfigFile, key: str, vocab_size: int) -> list[int]:
    """One token or several, below ``vocab_size``; none where the key is missing or null."""
    value = file.get(key, [])
    tokens = value if isinstance(value, list) else [value]
    for token in tokens:
        if isinstance(token, bool) or not isinstance(token, int) or not 0 <= token < vocab_size:
            raise file.wrong(key, token, f"a token from 0 to {vocab_size - 1}")
    return tokens

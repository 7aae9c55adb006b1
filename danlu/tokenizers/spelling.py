"""The bytes that each token stands for, as the decoder of a ``tokenizer.json`` spells them.

A decoder is a chain of steps. Each looks at one token, and some at whether it is the first of the text:
SentencePiece's drop the space before the first word, WordPiece's put one before every other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tokenizers

from danlu.errors import InputError
from danlu.tokenizers.tidy import CLOSER

Step = Callable[[str, bool], str]
"""A token and whether it is the first -> how it is written; single bytes are lone surrogates (PEP 383)."""
LONE_BYTE = re.compile("<0x([0-9A-Fa-f]{2})>")
"""How SentencePiece names a byte of a character that it has no piece for."""
WORD_PIECE_CLOSER = (*CLOSER[:7], (" do not", " don't"), *CLOSER[7:])
"""What the clean-up of WordPiece's decoder replaces in a token, in this order."""

MOST_IDS = 2**24
"""Some sixty times as many as any vocabulary has: there is a row for every number, with a token or without."""


@dataclass(frozen=True, slots=True)
class Spelling:
    """How every token is written, by id; some ids may have no token."""

    within: list[bytes]
    """Behind other tokens."""
    first: list[bytes]
    """At the beginning of a text, but for ``leading_spaces``."""
    lone_bytes: frozenset[int]
    """Tokens of one byte each, of which a row gives characters only where the whole row is UTF-8."""
    silent: frozenset[int]
    """Special tokens, which are no text, and numbers that no token has."""
    leading_spaces: int
    """How many spaces the beginning of a text loses, if it has them."""


def spelling_of(inner: tokenizers.Tokenizer, written: dict[int, str]) -> Spelling:
    """How the tokens of ``inner`` are written.

    Args:
        written: special tokens that are text, and which.

    Raises:
        InputError: its decoder has a step that is not built here, or a token has too high a number.
    """
    steps, lone, leading_spaces = _steps(inner)
    added = inner.get_added_tokens_decoder()
    numbers = inner.get_vocab(with_added_tokens=True)
    size = max(numbers.values(), default=-1) + 1
    if size > MOST_IDS:
        raise InputError(
            f"tokenizer.json gives a token the number {size - 1:,}; Danlu takes numbers below {MOST_IDS:,}"
        )
    within, lone_bytes = [b""] * size, set()
    first = list(within)
    for token, id in numbers.items():
        if lone and LONE_BYTE.fullmatch(token):
            lone_bytes.add(id)
        within[id] = _write(token, steps, first=False)
        first[id] = _write(token, steps, first=True)
    silent = {id for id, token in added.items() if token.special}
    silent |= set(range(len(within))) - set(numbers.values())
    for id in silent:
        within[id] = first[id] = written.get(id, "").encode()
    return Spelling(within, first, frozenset(lone_bytes), frozenset(silent - written.keys()), leading_spaces)


def _write(token: str, steps: list[Step], *, first: bool) -> bytes:
    for step in steps:
        token = step(token, first)
    return token.encode(errors="surrogateescape")


def _steps(inner: tokenizers.Tokenizer) -> tuple[list[Step], bool, int]:
    """The steps, whether some tokens are lone bytes, and how many spaces a text loses at its beginning."""
    if inner.decoder is None:
        return [_spaced], False, 0
    whole = json.loads(inner.decoder.__getstate__())
    decoders: list[dict[str, Any]] = whole["decoders"] if whole["type"] == "Sequence" else [whole]
    kinds = [decoder["type"] for decoder in decoders]
    leading_spaces = 0
    if kinds[-2:] == ["Fuse", "Strip"]:  # the only step that sees the text and not its tokens
        leading_spaces = _leading_spaces(decoders.pop())
        kinds.pop()
    odd = [kind for kind in kinds if kind not in STEPS]
    if odd:
        raise InputError(f"tokenizer.json has the decoder {odd[0]}; Danlu reads {', '.join(sorted(STEPS))}")
    return [STEPS[decoder["type"]](decoder) for decoder in decoders], "ByteFallback" in kinds, leading_spaces


def _leading_spaces(strip: dict[str, Any]) -> int:
    if strip["content"] != " " or strip["stop"] != 0:
        raise InputError(f"tokenizer.json has a decoder that strips more than leading spaces: {json.dumps(strip)}")
    return int(strip["start"])


def _spaced(token: str, first: bool) -> str:
    return token if first else f" {token}"


def _byte_letters() -> list[str]:
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(256 + others.index(byte)) if byte in others else chr(byte) for byte in range(256)]


BYTE_LETTERS = _byte_letters()
"""How byte-level tokenizers spell each byte, by the byte (Radford et al. 2019, GPT-2's encoder)."""


def _byte_level(_: dict[str, Any]) -> Step:
    """Radford et al. 2019, GPT-2's encoder: a letter for each byte."""
    byte_of = {letter: byte for byte, letter in enumerate(BYTE_LETTERS)}

    def step(token: str, first: bool) -> str:
        if not all(letter in byte_of for letter in token):  # an added token, which is written as it is
            return token
        return bytes(byte_of[letter] for letter in token).decode(errors="surrogateescape")

    return step


def _byte_fallback(_: dict[str, Any]) -> Step:
    def step(token: str, first: bool) -> str:
        lone = LONE_BYTE.fullmatch(token)
        return bytes([int(lone[1], 16)]).decode(errors="surrogateescape") if lone else token

    return step


def _metaspace(settings: dict[str, Any]) -> Step:
    """Kudo & Richardson 2018 (SentencePiece): a mark for each space."""
    mark, drops = settings["replacement"], settings["prepend_scheme"] != "never"
    return lambda token, first: token.replace(mark, "" if first and drops else " ")


def _word_piece(settings: dict[str, Any]) -> Step:
    """Wu et al. 2016: words are parted by spaces, what goes on with a word has a prefix."""
    prefix, cleanup = settings["prefix"], settings["cleanup"]

    def step(token: str, first: bool) -> str:
        if not first:
            token = token.removeprefix(prefix) if token.startswith(prefix) else f" {token}"
        for spaced, close in WORD_PIECE_CLOSER if cleanup else ():
            token = token.replace(spaced, close)
        return token

    return step


def _replace(settings: dict[str, Any]) -> Step:
    pattern, content = settings["pattern"], settings["content"]
    if "String" not in pattern:
        raise InputError(f"tokenizer.json has a decoder that replaces by a pattern: {json.dumps(pattern)}")
    return lambda token, first: token.replace(pattern["String"], content)


def _as_it_is(_: dict[str, Any]) -> Step:
    return lambda token, first: token


STEPS: dict[str, Callable[[dict[str, Any]], Step]] = {
    "ByteLevel": _byte_level, "ByteFallback": _byte_fallback, "Fuse": _as_it_is, "Metaspace": _metaspace,
    "Replace": _replace, "WordPiece": _word_piece,
}  # fmt: skip
"""By the ``type`` of a decoder."""

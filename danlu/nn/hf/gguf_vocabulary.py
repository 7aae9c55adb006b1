"""The tokens in a GGUF file's metadata, as their tokenizer spells them: by number, with kinds, scores and names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from danlu.errors import CheckpointError
from danlu.nn.hf.config_file import ConfigFile

KEY = "tokenizer.ggml."
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""Kinds of tokens in ``tokenizer.ggml.token_type``."""
NAMED = {
    "bos_token": "bos_token_id", "eos_token": "eos_token_id", "pad_token": "padding_token_id",
    "unk_token": "unknown_token_id", "cls_token": "cls_token_id", "sep_token": "seperator_token_id",
    "mask_token": "mask_token_id",
}  # fmt: skip
"""What ``tokenizer_config.json`` calls a token -> what the metadata call its number, one of them misspelt."""
UNSAID: Mapping[str, Mapping[str, int]] = {
    "bert": {"pad_token": 0, "unk_token": 100, "bos_token": 101, "sep_token": 102, "mask_token": 103},
    "t5": {"pad_token": 0, "eos_token": 1, "unk_token": 2},
}
"""By ``tokenizer.ggml.model``: what llama.cpp takes for those that a file does not name."""
SPACE = "▁"
SENTINELS = 100
"""T5's; no SentencePiece model of it holds them, so that llama.cpp writes fillers in their places."""
FILLER = re.compile(r"\[PAD\d+\]")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokens up to the last one that is used; those behind it only fill up the embedding."""

    meta: ConfigFile
    model: str
    """``tokenizer.ggml.model``."""
    tokens: list[str]
    kinds: list[int]
    special: dict[str, str]
    """``bos_token`` and its like -> the token."""

    def numbers(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self.tokens)}

    def scores(self) -> list[float]:
        """How good each token is.

        Raises:
            CheckpointError: there is not a number for each.
        """
        scores = self.meta.get(KEY + "scores")
        if not isinstance(scores, list) or len(scores) < len(self.tokens):
            raise CheckpointError(
                f"{self.meta.path}: {KEY}scores must have as many entries as {KEY}tokens ({len(self.tokens)})"
            )
        return [float(score) for score in scores[: len(self.tokens)]]

    def flag(self, key: str, default: bool) -> bool:
        return self.meta.flag(KEY + key, default)


def read_vocabulary(meta: ConfigFile, model: str) -> Vocabulary:
    """What the metadata hold.

    Raises:
        CheckpointError: there are no tokens, one stands there twice, or a number is that of none.
    """
    tokens = meta.get(KEY + "tokens")
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise CheckpointError(f"{meta.path} holds no tokenizer: {KEY}tokens is missing")
    kinds = meta.get(KEY + "token_type", [NORMAL] * len(tokens))
    if not isinstance(kinds, list) or len(kinds) < len(tokens):
        raise CheckpointError(f"{meta.path}: {KEY}token_type must have as many entries as {KEY}tokens ({len(tokens)})")
    tokens, kinds = list(tokens), kinds[: len(tokens)]
    if model == "t5":
        _name_sentinels(tokens, kinds)
    used = max((number + 1 for number, kind in enumerate(kinds) if kind != UNUSED), default=0)
    tokens, kinds = tokens[:used], kinds[:used]
    if model == "bert":
        tokens = [_word_piece(token, kind) for token, kind in zip(tokens, kinds, strict=True)]
    if len(set(tokens)) != used:
        raise CheckpointError(f"{meta.path}: {KEY}tokens holds a token twice")
    return Vocabulary(meta, model, tokens, kinds, _special(meta, model, tokens))


def _special(meta: ConfigFile, model: str, tokens: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, key in NAMED.items():
        number: Any = meta.get(KEY + key)
        if number is None:
            number = UNSAID.get(model, {}).get(name)
            if number is None or number >= len(tokens):
                continue
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(tokens):
            raise meta.wrong(KEY + key, number, f"the number of one of {len(tokens)} tokens")
        found[name] = tokens[number]
    return found


def _word_piece(token: str, kind: int) -> str:
    """Llama.cpp marks what begins a word, BERT what goes on with one."""
    if kind == CONTROL:
        return token
    return token[len(SPACE) :] if token.startswith(SPACE) and token != SPACE else "##" + token


def _name_sentinels(tokens: list[str], kinds: list[int]) -> None:
    """The first fillers of a T5 are its sentinels, the last one first; a vocabulary with fewer fillers has none."""
    fillers = [number for number, kind in enumerate(kinds) if kind == UNUSED and FILLER.fullmatch(tokens[number])]
    if len(fillers) >= SENTINELS:
        for place, number in enumerate(fillers[:SENTINELS]):
            tokens[number], kinds[number] = f"<extra_id_{SENTINELS - 1 - place}>", CONTROL

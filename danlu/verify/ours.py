"""Our side: the same rows by themselves, padded, packed and with a cache, and how our model writes.

Axes: B rows, T tokens, U tokens of a reply, D model width.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from danlu.generate.beam import Beam
from danlu.generate.engine import Loaded, generate
from danlu.generate.sampling import Sampling
from danlu.generate.searching import find_answers
from danlu.generate.special_tokens import SpecialTokens
from danlu.nn import config
from danlu.nn.cache import KVCache
from danlu.nn.sight import PADDING
from danlu.nn.transformer import Transformer
from danlu.tokenizers.char import Char
from danlu.verify.case import Rows
from danlu.verify.theirs import PADDING_TOKEN, START, Outputs

Form = Callable[[Transformer, Rows], Outputs]
CUTS = (0, 5, 6, 7, sys.maxsize)
"""Where rows are cut that are read with a cache, piece by piece."""
CHAR_TOKENS = 2
"""Tokens of a character tokenizer that are no character; rows have none of them."""
FIRST_LETTER = 0x4E00
"""Behind it there are 20,000 characters one after another."""


@torch.inference_mode()
def alone(model: Transformer, rows: Rows) -> Outputs:
    """Every row by itself."""
    parts: dict[str, list[Tensor]] = {}
    for number in range(len(rows.tokens)):
        for name, tensor in _read_out(model, hidden_states(model, rows, number), None).items():
            parts.setdefault(name, []).append(tensor)
    return {name: torch.cat(tensors) for name, tensors in parts.items()}


def padded_right(model: Transformer, rows: Rows) -> Outputs:
    """All rows in one batch, padding behind them."""
    return _padded(model, rows, left=False)


def padded_left(model: Transformer, rows: Rows) -> Outputs:
    """All rows in one batch, padding before them."""
    return _padded(model, rows, left=True)


@torch.inference_mode()
def packed(model: Transformer, rows: Rows) -> Outputs:
    """All rows one behind the other, and padding; only what single tokens give."""
    tokens, segments = _pack(rows.tokens)
    types = _pack(rows.types)[0] if rows.types else None
    if rows.replies:
        memory = model.encode(tokens, segments=segments)
        tokens, segments = _pack(rows.replies)
        hidden = model(tokens, segments=segments, memory=memory)
    else:
        hidden = model(tokens, segments=segments, types=types)
    return _read_out(model, hidden, segments, pooled=False)


@torch.inference_mode()
def cached(model: Transformer, rows: Rows) -> Outputs:
    """Every row by itself, read piece by piece."""
    parts: dict[str, list[Tensor]] = {}
    for number, row in enumerate(rows.replies or rows.tokens):
        cache = KVCache(model.config, batch=1, length=len(row), dtype=torch.float32)
        memory = model.encode(rows.tokens[number][None]) if rows.replies else None
        pieces = [row[start:end] for start, end in pairwise(CUTS) if start < len(row)]
        hidden = torch.cat([model(piece[None], memory=memory, cache=cache) for piece in pieces], 1)
        for name, tensor in _read_out(model, hidden, None).items():
            parts.setdefault(name, []).append(tensor)
    return {name: torch.cat(tensors) for name, tensors in parts.items()}


def greedy(model: Transformer, prompts: list[Tensor], *, count: int) -> Tensor:
    """The ``count`` likeliest tokens ``[B, count]`` behind each prompt, or in answer to it; no token ends a text.

    As ``danlu generate`` writes: with a tokenizer, a character a token, in batches.
    """
    loaded = _loaded(model)
    settings = Sampling(max_tokens=count, temperature=0)
    answers = generate(model, loaded.tokenizer, _texts(prompts), settings=settings, seed=0, special=loaded.special)
    return torch.tensor([answer.ids for answer in answers])


def beam(model: Transformer, prompts: list[Tensor], *, beams: int, count: int, end: int) -> list[list[int]]:
    """The best answer to each prompt that a search of so many beams finds, as ``danlu generate`` does."""
    found = find_answers(_loaded(model, end), Beam(beams=beams), _texts(prompts), settings=Sampling(max_tokens=count))
    return [list(answer.ids) for answer in found]


def _loaded(model: Transformer, *ends: int) -> Loaded:
    """The model with a tokenizer of as many tokens, whose texts :func:`_texts` makes."""
    tokenizer = Char().train(map(_letter, range(CHAR_TOKENS, model.config.vocab_size)))
    start = START if model.encoder is not None else None
    return Loaded(model, tokenizer, SpecialTokens(before=(), after=(), ends=frozenset(ends), start=start))


def _texts(prompts: list[Tensor]) -> list[str]:
    return ["".join(map(_letter, prompt.tolist())) for prompt in prompts]


def _letter(token: int) -> str:
    """The character that is this token."""
    return chr(FIRST_LETTER + token)


def pad(rows: list[Tensor], *, left: bool) -> tuple[Tensor, Tensor]:
    """``(tokens, mask)`` ``[B, T]``; the mask is 1 where a token is real."""
    longest = max(map(len, rows))
    tokens = torch.full((len(rows), longest), PADDING_TOKEN)
    mask = torch.zeros_like(tokens)
    for number, row in enumerate(rows):
        place = slice(longest - len(row), None) if left else slice(len(row))
        tokens[number, place], mask[number, place] = row, 1
    return tokens, mask


def hidden_states(model: Transformer, rows: Rows, number: int) -> Tensor:
    """``[1, T, D]`` of one row, or ``[1, U, D]`` of its reply."""
    tokens = rows.tokens[number][None]
    if rows.replies:
        hidden: Tensor = model(rows.replies[number][None], memory=model.encode(tokens))
        return hidden
    hidden = model(tokens, types=rows.types[number][None] if rows.types else None)
    return hidden


@torch.inference_mode()
def _padded(model: Transformer, rows: Rows, *, left: bool) -> Outputs:
    tokens, mask = pad(rows.tokens, left=left)
    segments = torch.where(mask == 1, 0, PADDING)
    types = pad(rows.types, left=left)[0] if rows.types else None
    if rows.replies:
        memory = model.encode(tokens, segments=segments)
        tokens, mask = pad(rows.replies, left=left)
        segments = torch.where(mask == 1, 0, PADDING)
        return _read_out(model, model(tokens, segments=segments, memory=memory), segments)
    return _read_out(model, model(tokens, segments=segments, types=types), segments)


def _pack(rows: list[Tensor]) -> tuple[Tensor, Tensor]:
    """``(tokens, document numbers)`` ``[1, T]``."""
    padding = torch.full((3,), PADDING_TOKEN)
    numbers = [torch.full_like(row, number) for number, row in enumerate(rows)]
    return torch.cat([*rows, padding])[None], torch.cat([*numbers, torch.full_like(padding, PADDING)])[None]


def _read_out(model: Transformer, hidden_BTD: Tensor, segments: Tensor | None, *, pooled: bool = True) -> Outputs:
    """What the head makes of real tokens and, where ``pooled``, of rows."""
    settings = model.config.head
    real_ND = hidden_BTD.flatten(0, 1) if segments is None else hidden_BTD[segments != PADDING]
    of_tokens: Outputs = {}
    of_rows: Outputs = {}
    if isinstance(settings, config.Head):
        of_tokens["logits"] = model.head(real_ND)
    elif isinstance(settings, config.Pretraining):
        of_tokens["words"] = model.head(real_ND)
        of_rows["pair"] = model.head.pair(hidden_BTD, segments)
    elif isinstance(settings, config.Embedding):
        of_tokens["hidden"] = real_ND
        if settings.pooler is not None:
            of_rows["pooler"] = model.head.pooled(hidden_BTD, segments)
    elif settings.pooling is None:
        of_tokens["logits"] = model.head(real_ND)
    else:
        of_rows["logits"] = model.head(hidden_BTD, segments)
    return {**of_tokens, **of_rows} if pooled else of_tokens

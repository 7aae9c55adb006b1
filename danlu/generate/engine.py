"""Text from a model, token by token: prompts in, answers out.

A prompt is read as the beginning of a document: the end-of-text token goes before it, as in training,
and where the model writes that token the answer ends. When the context is full, the model reads the
last half of it again and goes on from there. Axes: N rows, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from danlu.errors import CheckpointError
from danlu.generate.sampling import Sampling, choose
from danlu.generate.stops import StopFilter
from danlu.nn.cache import KVCache
from danlu.nn.hf.folder import load_model
from danlu.nn.transformer import Transformer
from danlu.tokenizers.tokenizer import Tokenizer

BATCH_ROWS = 32
"""Prompts that go through the model together."""

End = Literal["end_of_text", "stop", "max_tokens"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model wrote after a prompt, and why it stopped there."""

    text: str
    tokens: int
    """Tokens that were drawn, with the end-of-text token where it was."""
    end: End


class Row:
    """One answer in the making."""

    def __init__(self, tokenizer: Tokenizer, prompt: str, settings: Sampling, seed: int) -> None:
        self.context = [tokenizer.eot, *tokenizer.encode(prompt)]
        self.generator = torch.Generator().manual_seed(seed)
        self.drawn = 0
        self.end: End | None = None
        self._eot = tokenizer.eot
        self._limit = settings.max_tokens
        self._characters = tokenizer.stream()
        self._stops = StopFilter(settings.stop)

    def take(self, token: int) -> str:
        """Add a token; the text that is certain after it."""
        self.context.append(token)
        self.drawn += 1
        if token == self._eot:
            return self._finish("end_of_text")
        text = self._stops.push(self._characters.push(token))
        if self._stops.stopped:
            self.end = "stop"
        elif self.drawn == self._limit:
            text += self._finish("max_tokens")
        return text

    def _finish(self, end: End) -> str:
        text = self._stops.push(self._characters.flush())
        self.end = "stop" if self._stops.stopped else end
        return text + self._stops.flush()


def load(folder: Path) -> tuple[Transformer, Tokenizer]:
    """A model and the tokenizer beside it, which is the one that it was trained with.

    Raises:
        InputError, CheckpointError: one of them is missing or damaged, or they do not fit each other.
    """
    model, tokenizer = load_model(folder), Tokenizer.load(folder)
    if model.config.vocab_size < tokenizer.vocab_size:
        raise CheckpointError(
            f"the model in {folder} has {model.config.vocab_size} tokens, but its tokenizer has {tokenizer.vocab_size}"
        )
    return model, tokenizer


def generate(
    model: Transformer, tokenizer: Tokenizer, prompts: Sequence[str], *, settings: Sampling, seed: int
) -> list[Answer]:
    """An answer for each prompt; that of prompt ``i`` is drawn with ``seed + i`` and depends on no other.

    Prompts of equal length go through the model together.
    """
    rows = [Row(tokenizer, prompt, settings, seed + place) for place, prompt in enumerate(prompts)]
    texts: dict[int, list[str]] = {id(row): [] for row in rows}
    for _, alike in groupby(sorted(rows, key=lambda row: len(row.context)), key=lambda row: len(row.context)):
        group = list(alike)
        for start in range(0, len(group), BATCH_ROWS):
            for row, text in _write(model, tokenizer, group[start : start + BATCH_ROWS], settings):
                texts[id(row)].append(text)
    return [Answer("".join(texts[id(row)]), row.drawn, row.end or "max_tokens") for row in rows]


def stream(model: Transformer, tokenizer: Tokenizer, prompt: str, *, settings: Sampling, seed: int) -> Iterator[str]:
    """The answer to one prompt, piece by piece, a piece a token (it may be empty); no half characters, no stop strings.

    Joined, the pieces are the text that ``generate`` gives for the same seed.
    """
    row = Row(tokenizer, prompt, settings, seed)
    for _, text in _write(model, tokenizer, [row], settings):
        yield text


def _write(model: Transformer, tokenizer: Tokenizer, rows: list[Row], settings: Sampling) -> Iterator[tuple[Row, str]]:
    """Draw tokens for ``rows``, whose contexts are equally long, until all have ended."""
    reader = _Reader(model, rows, tokens=settings.max_tokens, vocab_size=tokenizer.vocab_size)
    seen_NV = _seen(rows, tokenizer.vocab_size) if settings.repetition_penalty != 1 else None
    while rows:
        tokens = choose(reader.logits_NV, settings, [row.generator for row in rows], seen_NV)
        if seen_NV is not None:
            seen_NV[range(len(rows)), tokens] = True
        for row, token in zip(rows, tokens, strict=True):
            yield row, row.take(token)
        going = [place for place, row in enumerate(rows) if row.end is None]
        if len(going) < len(rows):
            rows = [rows[place] for place in going]
            seen_NV = seen_NV[going] if seen_NV is not None else None
            reader.keep(going)
        if rows:
            reader.read(rows)


def _seen(rows: Sequence[Row], vocab_size: int) -> Tensor:
    seen_NV = torch.zeros(len(rows), vocab_size, dtype=torch.bool)
    for place, row in enumerate(rows):
        seen_NV[place, row.context] = True
    return seen_NV


class _Reader:
    """The model's state after all tokens so far; ``logits_NV`` are for the next, float32."""

    def __init__(self, model: Transformer, rows: Sequence[Row], *, tokens: int, vocab_size: int) -> None:
        self._model = model
        self._vocab_size = vocab_size  # the model may have rows to spare, which are no token
        self._room = model.config.max_length
        # The last token that is drawn is never read.
        self._wanted = len(rows[0].context) + tokens - 1
        self._reread(rows)

    @torch.inference_mode()
    def read(self, rows: Sequence[Row]) -> None:
        """Take in the last token of every row."""
        if self._cache.used == self._cache.length:
            self._reread(rows)
        else:
            self._forward([row.context[-1:] for row in rows])

    def keep(self, places: Sequence[int]) -> None:
        """Forget all rows but these."""
        self._cache.keep(places)

    @torch.inference_mode()
    def _reread(self, rows: Sequence[Row]) -> None:
        """Start anew from the whole context, or from the last half of what the model can see if it is longer."""
        length = len(rows[0].context)
        start = 0 if length <= self._room else length - max(1, self._room // 2)
        room = min(self._room, self._wanted - start)
        dtype = self._model.embedding.weight.dtype
        self._cache = KVCache(self._model.config, batch=len(rows), length=room, dtype=dtype)
        self._forward([row.context[start:] for row in rows])

    def _forward(self, tokens: list[list[int]]) -> None:
        hidden_NTD = self._model(torch.tensor(tokens), cache=self._cache)
        self.logits_NV: Tensor = self._model.head(hidden_NTD[:, -1]).float()[:, : self._vocab_size]

"""Text from a model, token by token: prompts in, answers out.

A decoder goes on from the prompt; a decoder with an encoder answers it. Prompts of any length go through
the model together, and each answer is the one that its prompt would get alone: to the rounding of the number type,
which in float32 makes no difference that we have seen, and in bfloat16 does.
Axes: N rows, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from danlu.errors import CheckpointError
from danlu.generate.constrained import Constraint, constraint_of
from danlu.generate.penalties import History
from danlu.generate.reader import Reader, encode, may_be_padded
from danlu.generate.sampling import NEVER, Sampling, choose
from danlu.generate.special_tokens import Begun, SpecialTokens
from danlu.generate.stops import StopFilter
from danlu.nn.config import Head
from danlu.nn.hf.folder import load_model
from danlu.nn.transformer import Transformer
from danlu.tokenizers.tokenizer import Tokenizer

BATCH_ROWS = 32
"""Prompts that go through the model together."""

End = Literal["end_of_text", "stop", "max_tokens", "stuck"]
"""Why an answer ends. ``max_tokens``: it might go on, and under a constraint its text may be no whole one. ``stuck``:
the vocabulary lacks a character that the constraint demands next."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model wrote after a prompt, and why it stopped there."""

    text: str
    ids: tuple[int, ...]
    """What was drawn, with the end-of-text token where it was."""
    end: End

    @property
    def tokens(self) -> int:
        """How many tokens were drawn."""
        return len(self.ids)


class Loaded(NamedTuple):
    """A model and what is needed to write with it."""

    model: Transformer
    tokenizer: Tokenizer
    special: SpecialTokens


class Row:
    """One answer in the making.

    Args:
        place: which of the prompts it answers.
    """

    def __init__(self, place: int, prompt: str | Begun, settings: Sampling, seed: int, loaded: Loaded) -> None:
        tokenizer, self._special = loaded.tokenizer, loaded.special
        self.place = place
        self.context, self.source = self._special.begin(tokenizer, prompt)
        self.generator = torch.Generator().manual_seed(seed + place)
        self.end: End | None = None
        self._begin = len(self.context)
        self._limit = settings.max_tokens
        self._vocab_size = tokenizer.vocab_size
        self._stops = StopFilter(settings.stop)
        self._constraint: Constraint | None = constraint_of(
            tokenizer, ends=self._special.ends, regex=settings.regex, json_schema=settings.json_schema,
            begun=tokenizer.begun(self.context),
        )  # fmt: skip
        # What follows a constraint must not be tidied afterwards.
        spelled = tokenizer.stream if self._constraint is None else tokenizer.spell
        self._characters = spelled(after=self.context)

    @property
    def drawn(self) -> list[int]:
        """The tokens of the answer so far."""
        return self.context[self._begin :]

    @property
    def count(self) -> int:
        """How many they are."""
        return len(self.context) - self._begin

    def allowed(self) -> Tensor | None:
        """Booleans ``[V]``: which tokens may come next; None where all may."""
        if self._constraint is not None:
            return self._constraint.allowed_V
        forced = None
        if self.count == 0:
            forced = self._special.first
        if self.count == self._limit - 1 and self._special.last is not None:
            forced = self._special.last
        return None if forced is None else torch.arange(self._vocab_size) == forced

    def take(self, token: int) -> str:
        """Add a token; the text that is certain after it."""
        self.context.append(token)
        if token in self._special.ends:
            return self._finish("end_of_text")
        text = self._stops.push(self._characters.push(token))
        if self._stops.stopped:
            self.end = "stop"
            return text
        if self._constraint is not None:
            self._constraint.take(token)
            if self._constraint.complete:
                return text + self._finish("end_of_text")
            if self._constraint.stuck:
                return text + self._finish("stuck")
        return text + self._finish("max_tokens") if self.count == self._limit else text

    def _finish(self, end: End) -> str:
        text = self._stops.push(self._characters.flush())
        self.end = "stop" if self._stops.stopped else end
        return text + self._stops.flush()


def load(folder: Path, *, dtype: torch.dtype = torch.float32) -> Loaded:
    """A model, the tokenizer beside it, which is the one that it was trained with, and their special tokens.

    Args:
        dtype: the type that the weights get, whatever the file's is.

    Raises:
        InputError, CheckpointError: one of them is missing or damaged, they do not fit each other, or the model
            writes no text.
    """
    model, tokenizer = load_model(folder, dtype=dtype), Tokenizer.load(folder)
    if model.config.decoder is None or not isinstance(model.config.head, Head):
        raise CheckpointError(
            f"the model in {folder} ({model.config.family}) writes no text: "
            "it needs a decoder with a language-model head"
        )
    if model.config.vocab_size < tokenizer.vocab_size:
        raise CheckpointError(
            f"the model in {folder} has {model.config.vocab_size} tokens, but its tokenizer has {tokenizer.vocab_size}"
        )
    return Loaded(model, tokenizer, SpecialTokens.read(folder, tokenizer, model.config))


def generate(
    model: Transformer,
    tokenizer: Tokenizer,
    prompts: Sequence[str | Begun],
    *,
    settings: Sampling,
    seed: int,
    special: SpecialTokens | None = None,
) -> list[Answer]:
    """An answer for each prompt; that of prompt ``i`` is drawn with ``seed + i`` and depends on no other.

    Args:
        prompts: what a decoder goes on from, or the source texts of a model with an encoder.
        special: as :func:`load` found them; by default what the tokenizer says.

    Raises:
        InputError: a source text is longer than what the model sees.
    """
    loaded = Loaded(model, tokenizer, special or SpecialTokens.of(tokenizer, model.config))
    rows = make_rows(loaded, prompts, settings, seed)
    texts: list[list[str]] = [[] for _ in rows]
    for row, text in _write_all(loaded, rows, settings):
        texts[row.place].append(text)
    return [answer_of(row, pieces) for row, pieces in zip(rows, texts, strict=True)]


def stream(
    model: Transformer,
    tokenizer: Tokenizer,
    prompt: str | Begun,
    *,
    settings: Sampling,
    seed: int,
    special: SpecialTokens | None = None,
) -> Iterator[str]:
    """The answer to one prompt, piece by piece, a piece a token (it may be empty); no half characters, no stop strings.

    Joined, the pieces are the text that ``generate`` gives for the same seed.
    """
    pieces = stream_batch(model, tokenizer, [prompt], settings=settings, seed=seed, special=special)
    return (text for _, text in pieces)


def stream_batch(
    model: Transformer,
    tokenizer: Tokenizer,
    prompts: Sequence[str | Begun],
    *,
    settings: Sampling,
    seed: int,
    special: SpecialTokens | None = None,
) -> Iterator[tuple[int, str]]:
    """The pieces of all answers as they are written, each with the number of its prompt.

    Of more than ``BATCH_ROWS`` prompts, the shorter are answered first.
    """
    loaded = Loaded(model, tokenizer, special or SpecialTokens.of(tokenizer, model.config))
    rows = make_rows(loaded, prompts, settings, seed)
    return ((row.place, text) for row, text in _write_all(loaded, rows, settings))


def make_rows(loaded: Loaded, prompts: Sequence[str | Begun], settings: Sampling, seed: int) -> list[Row]:
    """A row for each prompt, with a generator of its own."""
    return [Row(place, prompt, settings, seed, loaded) for place, prompt in enumerate(prompts)]


def answer_of(row: Row, pieces: Sequence[str]) -> Answer:
    """The answer of a row that has ended, from the pieces that it gave."""
    return Answer("".join(pieces), tuple(row.drawn), row.end or "max_tokens")


def permitted(logits_NV: Tensor, rows: Sequence[Row]) -> Tensor:
    """The logits, where each row has tokens that may come next; others are ruled out."""
    masks = [row.allowed() for row in rows]
    if all(mask is None for mask in masks):
        return logits_NV
    allowed_NV = torch.ones(logits_NV.shape, dtype=torch.bool)
    for place, mask_V in enumerate(masks):
        if mask_V is not None:
            allowed_NV[place] = mask_V
    return logits_NV.masked_fill(~allowed_NV, NEVER)


def _write_all(loaded: Loaded, rows: Sequence[Row], settings: Sampling) -> Iterator[tuple[Row, str]]:
    """Batches of rows of about equal length, one after the other."""

    def length(row: Row) -> int:
        return len(row.context if row.source is None else row.source)

    ordered = sorted(rows, key=length)
    alike = [ordered] if may_be_padded(loaded.model.config) else [list(group) for _, group in groupby(ordered, length)]
    for group in alike:
        for start in range(0, len(group), BATCH_ROWS):
            yield from _write(loaded, group[start : start + BATCH_ROWS], settings)


def _write(loaded: Loaded, rows: list[Row], settings: Sampling) -> Iterator[tuple[Row, str]]:
    """Draw tokens for ``rows`` until all have ended; those that have leave the batch."""
    contexts, vocab_size = [row.context for row in rows], loaded.tokenizer.vocab_size
    sources = [row.source for row in rows if row.source is not None]
    memory = encode(loaded.model, sources) if sources else None
    reader = Reader(loaded.model, contexts, tokens=settings.max_tokens, vocab_size=vocab_size, memory=memory)
    history = History(contexts, settings, vocab_size=vocab_size)
    while rows:
        logits_NV = history.penalise(permitted(reader.read()[:, -1], rows))
        tokens = choose(logits_NV, settings, [row.generator for row in rows])
        history.take(tokens)
        for row, token in zip(rows, tokens, strict=True):
            yield row, row.take(token)
        going = [place for place, row in enumerate(rows) if row.end is None]
        if len(going) < len(rows):
            rows = [rows[place] for place in going]
            history.keep(going)
            reader.keep(going)

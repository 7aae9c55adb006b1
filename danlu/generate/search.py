"""What a search is, and how prompts of different length go through the model together.

Axes: N rows, T tokens, D model width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from typing import Protocol

import torch
from torch import Tensor

from danlu.errors import InputError
from danlu.generate.reader import encode, may_be_padded, padded
from danlu.nn.cache import KVCache, Memory
from danlu.nn.config import TransformerConfig
from danlu.nn.transformer import Transformer
from danlu.ticks import tick

ROWS_AT_ONCE = 64
"""Rows that go through the model together: prompts times beams or candidates."""


class Search(Protocol):
    """Settings that find an answer for each prompt."""

    def run(
        self,
        model: Transformer,
        prompts: Sequence[Sequence[int]],
        *,
        eot: int | Collection[int],
        max_tokens: int,
        sources: Sequence[list[int]] | None = None,
        vocab_size: int | None = None,
    ) -> list[list[int]]:
        """The new tokens of each answer, with ``eot`` at the end where the model wrote it.

        An answer does not depend on which prompts are asked together.

        Args:
            prompts: token ids that the decoder goes on from, at least one in each.
            eot: the token that ends an answer; or several, each of which does.
            max_tokens: an answer ends after so many tokens, or earlier where the model can see no more.
            sources: what the encoder reads, one a prompt, where the model has an encoder.
            vocab_size: tokens that may be written, where the model has rows to spare.

        Raises:
            InputError: a prompt that leaves no room for an answer, or a source that is too long.
        """
        ...


class Rows:
    """The model after all tokens so far of some rows; ``hidden_NTD`` are the hidden states of those read last.

    Prompts of different length begin with padding, which nobody sees.
    """

    def __init__(
        self,
        model: Transformer,
        prompts: Sequence[Sequence[int]],
        *,
        length: int,
        memory: Memory | None,
        vocab_size: int | None,
    ) -> None:
        self._model, self._memory, self._vocab_size = model, memory, vocab_size
        weight = model.embedding.weight
        self._device = weight.device
        self._cache = KVCache(model.config, batch=len(prompts), length=length, dtype=weight.dtype, device=weight.device)
        tokens, self.segments_NT = padded([list(prompt) for prompt in prompts], left=True, device=weight.device)
        tokens_NT = torch.tensor(tokens, device=weight.device)
        self.hidden_NTD: Tensor = model(tokens_NT, segments=self.segments_NT, memory=memory, cache=self._cache)

    def read(self, tokens: Sequence[int]) -> None:
        """Take in one more token of every row."""
        tokens_N1 = torch.tensor(tokens, device=self._device)[:, None]
        self.hidden_NTD = self._model(tokens_N1, memory=self._memory, cache=self._cache)
        tick()

    def keep(self, rows: Sequence[int]) -> None:
        """Only these rows, in this order, as often as they are named."""
        if list(rows) == list(range(len(self.hidden_NTD))):
            return
        self._cache.keep(rows)
        self._memory = self._memory.keep(rows) if self._memory is not None else None
        self.hidden_NTD = self.hidden_NTD[list(rows)]

    def logits(self, *, every: int = 1) -> Tensor:
        """Logits ``[N / every, V]`` of the token after the last, of every ``every``-th row; float32 or float64."""
        logits_NV: Tensor = self._model.head(self.hidden_NTD[::every, -1])[:, : self._vocab_size]
        return logits_NV.to(torch.promote_types(logits_NV.dtype, torch.float32))


def read_sources(model: Transformer, sources: Sequence[list[int]] | None, numbers: Sequence[int]) -> Memory | None:
    """What the encoder makes of the sources of these numbers, a group of all; None where there are none."""
    return None if sources is None else encode(model, [sources[number] for number in numbers])


def ends_of(eot: int | Collection[int]) -> frozenset[int]:
    """The tokens that end an answer."""
    return frozenset([eot] if isinstance(eot, int) else eot)


def together(
    prompts: Sequence[Sequence[int]],
    config: TransformerConfig,
    *,
    max_tokens: int,
    unread: int,
    rows: int,
    sources: Sequence[Sequence[int]] | None = None,
) -> Iterator[tuple[list[int], int]]:
    """Which prompts go through the model together, at most ``rows``, and how many tokens each answer may have.

    Prompts that leave room for fewer than ``max_tokens`` meet only those of their own length: padding
    takes room, and must make no answer shorter. So do all prompts of a model that minds padding.

    Args:
        unread: tokens at the end of an answer that the model never reads, and that need no room.
        sources: what the encoder reads; that all are short enough is seen before the first group is given.

    Raises:
        InputError: a prompt that leaves no room for an answer, or a source that is too long.
    """
    for number, source in enumerate(sources or []):
        if len(source) > config.max_length:
            raise InputError(
                f"source text {number + 1} has {len(source)} tokens: the model sees at most {config.max_length}"
            )
    lengths = [len(prompt) for prompt in prompts]
    limits = [min(max_tokens, config.max_length + unread - length) for length in lengths]
    for number, limit in enumerate(limits):
        assert lengths[number] > 0, "a prompt has at least one token"
        if limit < 1:
            raise InputError(
                f"prompt {number + 1} has {lengths[number]} tokens and leaves no room for an answer: "
                f"the model sees at most {config.max_length}"
            )
    ragged = may_be_padded(config)
    shortest_first = sorted(range(len(prompts)), key=lambda number: lengths[number])
    for _, alike in groupby(shortest_first, key=lambda number: (limits[number], 0 if ragged else lengths[number])):
        group = list(alike)
        for start in range(0, len(group), rows):
            part = group[start : start + rows]
            yield part, limits[part[0]]

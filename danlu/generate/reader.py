"""A model's state after all tokens of some rows, which may differ in length: what the next token is drawn from.

Shorter rows begin with padding, so that all end at the same place. When the context is full, the model
reads the last half of it again and goes on from there, each row when it would do so alone.
Axes: N rows, T tokens, S tokens of a source, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from danlu.errors import InputError
from danlu.nn.cache import KVCache, Memory
from danlu.nn.config import TransformerConfig
from danlu.nn.patterns import Full, Strided, Window
from danlu.nn.positions import depends_on_length
from danlu.nn.sight import PADDING
from danlu.nn.transformer import Transformer
from danlu.ticks import tick

ROUND = 128
"""The places of a cache are a multiple of this, so that few lengths are compiled for."""


class Reader:
    """The model, its cache, and how much of each row it has read.

    Args:
        contexts: the tokens of each row; whoever writes adds to these lists, to all of them equally many.
        tokens: how many are drawn for a row at most; the last of them is never read.
        vocab_size: the model may have rows to spare, which are no token.
        memory: the encoder's output, where the model has an encoder.
    """

    def __init__(
        self,
        model: Transformer,
        contexts: Sequence[list[int]],
        *,
        tokens: int,
        vocab_size: int,
        memory: Memory | None = None,
    ) -> None:
        self._model, self._contexts, self._memory = model, list(contexts), memory
        self._vocab_size = vocab_size
        self._room, self._device = model.config.max_length, model.embedding.weight.device
        self._starts = [0] * len(self._contexts)
        self._taken = [0] * len(self._contexts)
        self._longest = [len(context) + tokens - 1 for context in self._contexts]
        self._cache: KVCache | None = None

    @torch.inference_mode()
    def read(self, last: int = 1) -> Tensor:
        """Take in what is new in every row; the float32 logits ``[N, last, V]`` after each of the ``last`` tokens.

        They are the processor's, wherever the model is: drawing is done there.
        """
        new = len(self._contexts[0]) - self._taken[0]
        if self._cache is None or self._cache.used + new > self._cache.length:
            tokens, segments = self._from_the_start()
        else:
            tokens, segments = [context[-new:] for context in self._contexts], None
        tokens_NT = torch.tensor(tokens, device=self._device)
        hidden_NTD = self._model(tokens_NT, segments=segments, memory=self._memory, cache=self._cache)
        tick()
        self._taken = [len(context) for context in self._contexts]
        logits_NTV: Tensor = self._model.head(hidden_NTD[:, -last:]).float()[..., : self._vocab_size].cpu()
        return logits_NTV

    def keep(self, places: Sequence[int]) -> None:
        """Forget all rows but these."""
        self._contexts = [self._contexts[place] for place in places]
        self._starts = [self._starts[place] for place in places]
        self._taken = [self._taken[place] for place in places]
        self._longest = [self._longest[place] for place in places]
        if self._cache is not None:
            self._cache.keep(places)
        if self._memory is not None:
            self._memory = self._memory.keep(places)

    def fork(self, origin: Sequence[int], contexts: Sequence[list[int]]) -> None:
        """Go on with copies of rows: ``origin`` names the row that each of ``contexts`` begins as, each a new list."""
        self.keep(origin)
        self._contexts = list(contexts)

    @property
    def free(self) -> int:
        """Tokens that may be added to the longest row before it is full; below 0 where it is overfull already."""
        held = max(len(context) - start for context, start in zip(self._contexts, self._starts, strict=True))
        return self._room - held

    def back_to(self, length: int) -> None:
        """Forget what was read of the first row behind its first ``length`` tokens, and as much of the others."""
        beyond = self._taken[0] - length
        if beyond <= 0:
            return
        assert self._cache is not None
        self._taken = [taken - beyond for taken in self._taken]
        if beyond < self._cache.used:
            self._cache.back_to(self._cache.used - beyond)
        else:  # all that is still seen came later: begin anew
            self._cache, self._starts = None, [0] * len(self._starts)

    def _from_the_start(self) -> tuple[list[list[int]], Tensor | None]:
        """A new cache, and for it all tokens that are still seen, shorter rows behind padding."""
        for place, context in enumerate(self._contexts):
            if len(context) - self._starts[place] > self._room:
                self._starts[place] = len(context) - max(1, self._room // 2)
        rows = [context[start:] for context, start in zip(self._contexts, self._starts, strict=True)]
        to_come = max(longest - len(context) for longest, context in zip(self._longest, self._contexts, strict=True))
        length = min(self._room, -(-(max(map(len, rows)) + to_come) // ROUND) * ROUND)
        dtype = self._model.embedding.weight.dtype
        self._cache = KVCache(self._model.config, batch=len(rows), length=length, dtype=dtype, device=self._device)
        return padded(rows, left=True, device=self._device)


def padded(
    rows: Sequence[list[int]], *, left: bool, device: torch.device | None = None
) -> tuple[list[list[int]], Tensor | None]:
    """Rows of one length, and on ``device`` the document numbers ``[N, T]`` that tell padding; None without any."""
    longest = max(map(len, rows))
    if min(map(len, rows)) == longest:
        return list(rows), None
    tokens, segments = [], []
    for row in rows:
        padding = longest - len(row)
        parts = ([0] * padding, row) if left else (row, [0] * padding)
        numbers = ([PADDING] * padding, [0] * len(row)) if left else ([0] * len(row), [PADDING] * padding)
        tokens.append([*parts[0], *parts[1]])
        segments.append([*numbers[0], *numbers[1]])
    return tokens, torch.tensor(segments, device=device)


def may_be_padded(config: TransformerConfig) -> bool:
    """Whether a row means the same behind padding: where distances count, and not places in the row or its length."""
    if config.encoder is not None:
        return True  # rows of the decoder all begin with the same token; sources have their padding behind them
    return all(
        isinstance(layer.attention.pattern, Full | Window | Strided)
        and layer.attention.linformer is None
        and not (layer.attention.rotary is not None and depends_on_length(layer.attention.rotary))
        for layer in config.stack.layers
    )


@torch.inference_mode()
def encode(model: Transformer, sources: Sequence[list[int]]) -> Memory:
    """What the encoder makes of the sources, read together.

    Raises:
        InputError: one is longer than what the model sees.
    """
    most = model.config.max_length
    longest = max(map(len, sources))
    if longest > most:
        raise InputError(f"the model sees at most {most} tokens of a source text; got one of {longest}")
    device = model.embedding.weight.device
    tokens, segments = padded(sources, left=False, device=device)
    return model.encode(torch.tensor(tokens, device=device), segments=segments)

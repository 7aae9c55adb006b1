"""Token after token as fast as memory gives the weights: static shapes, and blocks that are compiled once.

A :class:`Decoding` holds keys and values in tensors whose shapes never change; each step writes at a
place and masks what lies behind it, so that one compiled block serves all steps and all layers.

Axes: N rows, T tokens, L places of the cache, G key/value heads, E head width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from danlu.nn.attention import Context
from danlu.nn.cache import KVCache
from danlu.nn.patterns import Pattern
from danlu.nn.transformer import Transformer

ROUND = 128
"""The places of a cache are a multiple of this, so that few lengths are compiled for."""


class _Place:
    """One layer's keys and values, and where the next token goes; in the place of a :class:`KVCache`."""

    def __init__(self, keys_NGLE: Tensor, values_NGLE: Tensor, place: Tensor) -> None:
        self.keys, self.values, self.place = keys_NGLE, values_NGLE, place

    def extend(self, layer: int, key_NG1E: Tensor, value_NG1E: Tensor) -> tuple[Tensor, Tensor]:
        self.keys.index_copy_(2, self.place, key_NG1E)
        self.values.index_copy_(2, self.place, value_NG1E)
        return self.keys, self.values


class _Seen:
    """A mask that is made already; in the place of a :class:`Sight`."""

    own = plain = False
    segments = None

    def __init__(self, mask: Tensor) -> None:
        self._mask = mask

    def mask(self, pattern: Pattern) -> Tensor:
        return self._mask

    def is_causal_only(self, pattern: Pattern) -> bool:
        return False


class Decoding:
    """Rows that are being written: prompts are read once, then a token of every row at a time.

    Args:
        length: tokens of prompt and answer together, at most.
        compiled: whether the blocks are compiled, which takes a while and pays for some hundred tokens.
    """

    def __init__(self, model: Transformer, *, rows: int, length: int, compiled: bool = False) -> None:
        if model.decoder is None or model.encoder is not None:
            raise ValueError("only a decoder without an encoder is written with here")
        self.model, self.stack = model, model.decoder
        room = min(-(-length // ROUND) * ROUND, model.config.max_length)
        self.cache = KVCache(model.config, batch=rows, length=room, dtype=model.embedding.weight.dtype)
        self._run: Any = torch.compile(_run, dynamic=False) if compiled else _run
        self._places = torch.arange(room)
        self._patterns: list[Pattern] = [layer.attention.pattern for layer in model.config.stack.layers]

    @torch.inference_mode()
    def read(self, tokens_NT: Tensor, *, segments: Tensor | None = None) -> Tensor:
        """Logits ``[N, V]`` after all of these tokens; ``segments`` as in ``Transformer.forward``."""
        hidden_NTD = self.model(tokens_NT, segments=segments, cache=self.cache)
        logits_NV: Tensor = self.model.head(hidden_NTD[:, -1])
        return logits_NV

    @torch.inference_mode()
    def step(self, tokens_N: Tensor) -> Tensor:
        """Logits ``[N, V]`` of the token that follows, after one more token of every row.

        Raises:
            ValueError: the cache is full.
        """
        cache, stack, used = self.cache, self.stack, self.cache.used
        if used == cache.length:
            raise ValueError(f"the cache holds {cache.length} tokens; got {used + 1}")
        segments = cache.note(None, batch=len(tokens_N), new=1)
        own = None if segments is None else segments[:, used : used + 1]
        positions = stack._positions(own, segments, used, used + 1, tokens_N.device)
        x_N1D = stack.entry(self.model.embedding(tokens_N)[:, None], positions, None)
        masks = {pattern: _Seen(self._mask(pattern, segments)) for pattern in set(self._patterns)}
        tables, place = stack._tables(used, used + 1), torch.tensor([used])
        for number, (block, pattern) in enumerate(zip(stack.blocks, self._patterns, strict=True)):
            at = _Place(cache.keys[number], cache.values[number], place)
            x_N1D = self._run(block, x_N1D, masks[pattern], tables, at)
        cache.used = used + 1
        logits_NV: Tensor = self.model.head(stack.norm(x_N1D)[:, -1])
        return logits_NV

    def keep(self, rows: Sequence[int]) -> None:
        """Only these rows, in this order."""
        self.cache.keep(rows)

    def _mask(self, pattern: Pattern, segments: Tensor | None) -> Tensor:
        """``[N or 1, 1, 1, L]``: the places that the token at ``used`` sees; numbers where there is a bias."""
        used, places = self.cache.used, self._places
        seen = (places <= used)[None]
        of_pattern = pattern.sees(torch.tensor([[used]]), places[None])
        if of_pattern is not None:
            seen = seen & of_pattern
        if segments is not None:
            assert self.cache.segments is not None
            seen = seen & (self.cache.segments == segments[:, -1:])
        mask = seen[:, None, None, :]
        bias = None if self.stack.bias is None else self.stack.bias(torch.tensor([used]), places)
        return mask if bias is None else bias.masked_fill(~mask, float("-inf"))


def _run(block: Any, x_N1D: Tensor, seen: Any, tables: tuple[tuple[Tensor, Tensor], ...], at: Any) -> Tensor:
    out: Tensor = block(x_N1D, Context(seen, tables, at))
    return out

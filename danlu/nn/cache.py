"""Keys and values of the tokens already seen, so that each new token costs one forward step.

Axes: B rows, T new tokens, L places of the cache, S tokens of a source, G key/value heads, E head width, D model width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from danlu.nn.config import TransformerConfig
from danlu.nn.sight import PADDING


@dataclass(slots=True)
class Memory:
    """What an encoder made: hidden states ``[B, S, D]``, and document numbers ``[B, S]`` where there is padding."""

    hidden: Tensor
    segments: Tensor | None = None

    def keep(self, rows: Sequence[int]) -> Memory:
        """The same rows of the batch, in this order, as often as they are named."""
        index = list(rows)
        return Memory(self.hidden[index], None if self.segments is None else self.segments[index])


@dataclass(slots=True)
class LayerCache:
    """One layer's keys and values ``[B, G, L, E]``, and those of the encoder's output once they are made."""

    keys: Tensor
    values: Tensor
    cross: tuple[Tensor, Tensor] | None = None

    def extend(self, places_T: Tensor, keys_BGTE: Tensor, values_BGTE: Tensor) -> tuple[Tensor, Tensor]:
        """Write new keys and values at these places; all ``L`` of them, those behind the last place without meaning."""
        self.keys.index_copy_(2, places_T, keys_BGTE)
        self.values.index_copy_(2, places_T, values_BGTE)
        return self.keys, self.values

    def keep(self, rows: Sequence[int]) -> LayerCache:
        """The same rows of the batch, in this order, as often as they are named."""
        index = list(rows)
        cross = None if self.cross is None else (self.cross[0][index], self.cross[1][index])
        return LayerCache(self.keys[index], self.values[index], cross)


@dataclass(frozen=True, slots=True)
class Span:
    """The tokens of one forward pass, among all positions so far."""

    start: int
    end: int
    numbers: Tensor | None
    """``[B, end]`` document numbers of the tokens so far; None where all is one document."""
    of_keys: Tensor | None
    """``[B, keys]``: the same for all keys that the pass may look at."""
    keys: int
    """The tokens themselves where none came before; else all places of the cache."""
    places: Tensor | None = None
    """``[T]``: where in the cache the new tokens go."""

    @classmethod
    def whole(cls, segments_BT: Tensor | None, length: int) -> Span:
        """Of a pass without a cache."""
        return cls(0, length, segments_BT, segments_BT, length)

    @property
    def own(self) -> Tensor | None:
        """``[B, T]`` document numbers of the pass's own tokens."""
        return None if self.numbers is None else self.numbers[:, self.start :]


class KVCache:
    """Room for ``length`` tokens of ``batch`` rows; shapes never change, so that one compiled step serves all.

    ``used`` counts the tokens in it, the same for every row; virtual ones, which come with the first, have places of
    their own. Rows of different length begin with padding, which ``segments`` ``[batch, virtual + length]`` tells
    apart where a forward pass has said so.
    """

    def __init__(
        self,
        config: TransformerConfig,
        *,
        batch: int,
        length: int,
        dtype: torch.dtype,
        device: torch.device | None = None,
    ) -> None:
        def room(heads: int, width: int) -> Tensor:
            return torch.zeros(batch, heads, self.virtual + length, width, dtype=dtype, device=device)

        self.virtual = config.stack.virtual.tokens if config.stack.virtual is not None else 0
        sizes = [(layer.attention.kv_heads, layer.attention.head_dim) for layer in config.stack.layers]
        self.layers = [LayerCache(room(*size), room(*size)) for size in sizes]
        self.segments: Tensor | None = None
        self.length = length
        self.used = 0

    def span(self, segments_BT: Tensor | None, *, batch: int, new: int) -> Span:
        """Where the next ``new`` tokens stand, virtual ones counted, whose document numbers are kept.

        Tokens without numbers go on with the document of the row's last token.

        Raises:
            ValueError: the cache is full, or which document that is cannot be known.
        """
        start = self.used + self.virtual if self.used else 0
        end = start + new
        if end > self.virtual + self.length:
            raise ValueError(f"the cache holds {self.length} tokens; got {end - self.virtual}")
        self._note(segments_BT, batch=batch, start=start, end=end)
        places_T = torch.arange(start, end, device=self.layers[0].keys.device)
        numbers = None if self.segments is None else self.segments[:, :end]
        if start == 0:
            return Span(0, end, numbers, numbers, end, places_T)
        return Span(start, end, numbers, self.segments, self.virtual + self.length, places_T)

    def _note(self, segments_BT: Tensor | None, *, batch: int, start: int, end: int) -> None:
        """Keep the new tokens' document numbers, where any were ever given."""
        if segments_BT is None and self.segments is None:
            return
        if self.segments is None:
            assert segments_BT is not None
            if self.used:
                raise ValueError(f"the first {self.used} tokens were read without document numbers")
            first = segments_BT[:, :1].int()
            self.segments = first.expand(batch, self.virtual + self.length).clone()
        if segments_BT is None:
            if bool((self.segments[:, start - 1] == PADDING).any()):
                raise ValueError("a row ends in padding: what is added to it needs document numbers")
            segments_BT = self.segments[:, start - 1 : start].expand(batch, end - start)
        self.segments[:, start:end] = segments_BT

    def keep(self, rows: Sequence[int]) -> None:
        """Only these rows of the batch, in this order, as often as they are named."""
        self.layers = [layer.keep(rows) for layer in self.layers]
        if self.segments is not None:
            self.segments = self.segments[list(rows)]

    def back_to(self, used: int) -> None:
        """Forget the tokens behind the first ``used``."""
        assert used <= self.used
        self.used = used

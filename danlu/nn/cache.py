"""Keys and values of the tokens already seen, so that each new token costs one forward step."""

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


class KVCache:
    """Room for ``length`` tokens of ``batch`` rows; shapes never change.

    ``keys[layer]`` and ``values[layer]`` are ``[batch, kv_heads, length, head_dim]``; ``used`` counts
    the tokens in it, the same for every row. Rows of different length begin with padding, which
    ``segments`` ``[batch, length]`` tells apart where a forward pass has said so.
    """

    def __init__(self, config: TransformerConfig, *, batch: int, length: int, dtype: torch.dtype) -> None:
        layers = config.stack.layers
        shapes = [(batch, layer.attention.kv_heads, length, layer.attention.head_dim) for layer in layers]
        self.keys = [torch.zeros(shape, dtype=dtype) for shape in shapes]
        self.values = [torch.zeros(shape, dtype=dtype) for shape in shapes]
        self.cross: list[tuple[Tensor, Tensor] | None] = [None] * len(layers)
        """Keys and values of the encoder's output, made at the first step."""
        self.segments: Tensor | None = None
        self.length = length
        self.used = 0

    def extend(self, layer: int, key_BGTE: Tensor, value_BGTE: Tensor) -> tuple[Tensor, Tensor]:
        """Write the new keys and values behind the old ones; return all of this layer's so far."""
        end = self.used + key_BGTE.shape[2]
        if end > self.length:
            raise ValueError(f"the cache holds {self.length} tokens; got {end}")
        self.keys[layer][:, :, self.used : end] = key_BGTE
        self.values[layer][:, :, self.used : end] = value_BGTE
        return self.keys[layer][:, :, :end], self.values[layer][:, :, :end]

    def note(self, segments_BT: Tensor | None, *, batch: int, new: int) -> Tensor | None:
        """Keep the new tokens' document numbers; return those of all tokens so far, None where none were ever given.

        Tokens without numbers go on with the document of the row's last token.

        Raises:
            ValueError: which document that is cannot be known.
        """
        if segments_BT is None and self.segments is None:
            return None
        if self.segments is None:
            assert segments_BT is not None
            if self.used:
                raise ValueError(f"the first {self.used} tokens were read without document numbers")
            first = segments_BT[:, :1].int()
            self.segments = first.expand(batch, self.length).clone()
        end = self.used + new
        if segments_BT is None:
            if bool((self.segments[:, self.used - 1] == PADDING).any()):
                raise ValueError("a row ends in padding: what is added to it needs document numbers")
            segments_BT = self.segments[:, self.used - 1 : self.used].expand(batch, new)
        self.segments[:, self.used : end] = segments_BT
        return self.segments[:, :end]

    def keep(self, rows: Sequence[int]) -> None:
        """Only these rows of the batch, in this order, as often as they are named."""
        index = list(rows)
        self.keys = [keys[index] for keys in self.keys]
        self.values = [values[index] for values in self.values]
        self.cross = [None if pair is None else (pair[0][index], pair[1][index]) for pair in self.cross]
        if self.segments is not None:
            self.segments = self.segments[index]

    def back_to(self, used: int) -> None:
        """Forget the tokens behind the first ``used``."""
        assert used <= self.used
        self.used = used

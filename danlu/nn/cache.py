"""Keys and values of the tokens already seen, so that each new token costs one forward step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from danlu.nn.config import TransformerConfig


class KVCache:
    """Room for ``length`` tokens of ``batch`` rows; shapes never change.

    ``keys[layer]`` and ``values[layer]`` are ``[batch, kv_heads, length, head_dim]``; ``used`` counts
    the tokens in it, the same for every row.
    """

    def __init__(self, config: TransformerConfig, *, batch: int, length: int, dtype: torch.dtype) -> None:
        shape = (config.layers, batch, config.kv_heads, length, config.head_dim)
        self.keys = torch.zeros(shape, dtype=dtype)
        self.values = torch.zeros(shape, dtype=dtype)
        self.used = 0

    @property
    def length(self) -> int:
        return self.keys.shape[3]

    def extend(self, layer: int, key_BGTE: Tensor, value_BGTE: Tensor) -> tuple[Tensor, Tensor]:
        """Write the new keys and values behind the old ones; return all of this layer's so far."""
        end = self.used + key_BGTE.shape[2]
        if end > self.length:
            raise ValueError(f"the cache holds {self.length} tokens; got {end}")
        self.keys[layer, :, :, self.used : end] = key_BGTE
        self.values[layer, :, :, self.used : end] = value_BGTE
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def keep(self, rows: Sequence[int]) -> None:
        """Forget all rows of the batch but these."""
        self.keys = self.keys[:, rows]
        self.values = self.values[:, rows]

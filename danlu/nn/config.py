"""The shape of a Transformer and every switch that changes its arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from danlu.errors import RecipeError


@dataclass(frozen=True, slots=True)
class TransformerConfig:
    """A decoder; ``config`` of a family (``nn/families.py``) returns one, and so does reading a folder (``nn/hf/``).

    Raises:
        RecipeError: sizes that do not fit each other; who calls says where they stand.
    """

    family: str
    """The ``model_type`` that its Hugging Face folder has; ``nn/hf/`` names the weights by it."""
    vocab_size: int
    layers: int
    dim: int
    heads: int
    kv_heads: int
    """Heads of keys and values; fewer than ``heads`` is grouped-query attention."""
    head_dim: int
    hidden: int
    """Width inside the MLP."""
    max_length: int
    activation: Literal["relu2", "swiglu"]
    norm_weight: bool
    """Whether RMSNorm layers have a learned gain."""
    norm_eps: float
    qk_norm: Literal["none", "plain", "weight"]
    """RMSNorm on queries and keys: none, without a gain, or with one per head width."""
    embed_norm: bool
    """RMSNorm on the embedding before the first block."""
    rope_theta: float
    rope_direction: Literal[1, -1]
    """nanochat turns its queries and keys the other way round."""
    softcap: float | None
    """Logits become ``softcap * tanh(logits / softcap)``."""
    tied: bool
    """Whether the head's weight is the embedding's."""

    def __post_init__(self) -> None:
        if self.heads % self.kv_heads:
            raise RecipeError(f"kv_heads must divide heads ({self.heads}); got {self.kv_heads}")
        if self.head_dim % 2:
            raise RecipeError(f"head_dim must be even for rotary positions; got {self.head_dim}")

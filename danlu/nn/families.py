"""Families: what a recipe says about a model, turned into a :class:`TransformerConfig`.

``gpt`` is Danlu's own choice of decoder; its folders load in stock ``transformers`` as nanochat.
The choice was measured: ``docs/decisions/0003-decoder-block.md``.
"""

from __future__ import annotations

from typing import Any, Protocol, Self

from pydantic import Field, model_validator

from danlu.errors import RecipeError
from danlu.nn.config import TransformerConfig
from danlu.recipe import Choice


class Family(Protocol):
    """A choice of model."""

    def config(self, *, vocab_size: int, max_length: int) -> TransformerConfig:
        """The shape for this vocabulary and this longest row of tokens."""
        ...


class Decoder(Choice):
    """The settings that all decoders share."""

    layers: int = Field(default=6, ge=1)
    """Blocks, one on top of the other."""
    dim: int = Field(default=384, ge=2)
    """Model width."""
    heads: int | None = Field(default=None, ge=1)
    """Query heads; by default one per 128 of width (64 below 256), where attention is fastest."""
    kv_heads: int | None = Field(default=None, ge=1)
    """Key and value heads; by default as many as query heads."""
    head_dim: int | None = Field(default=None, ge=2)
    """Width of a head; by default ``dim / heads``."""
    hidden: int | None = Field(default=None, ge=1)
    """Width inside the MLP."""

    def config(self, *, vocab_size: int, max_length: int) -> TransformerConfig:
        """The shape; a family's own."""
        raise NotImplementedError(type(self).__name__)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """Refuse sizes that do not fit when the recipe is loaded, not when, hours later, the model is built."""
        try:
            self.config(vocab_size=2, max_length=2)
        except RecipeError as error:
            raise ValueError(str(error)) from None  # what ``build`` puts the key before
        return self

    def _sizes(self, *, gated: bool) -> dict[str, Any]:
        heads = self.heads or max(1, self.dim // (128 if self.dim >= 256 else 64))
        if self.head_dim is None and self.dim % (2 * heads):  # rotary positions turn pairs
            raise RecipeError(
                f"dim ({self.dim}) divided by heads must be an even whole number, or head_dim be given; "
                f"got heads {self._said(heads)}"
            )
        gated_hidden = (self.dim * 8 // 3 + 63) // 64 * 64
        return {
            "layers": self.layers,
            "dim": self.dim,
            "heads": heads,
            "kv_heads": self.kv_heads or heads,
            "head_dim": self.head_dim or self.dim // heads,
            "hidden": self.hidden or (gated_hidden if gated else 4 * self.dim),
        }

    def _said(self, heads: int) -> str:
        return f"{heads}{'' if self.heads else ' (the default)'}"


class GPT(Decoder):
    """nanochat's block: norms without gains, QK-norm, ReLU², soft-capped logits, untied head."""

    softcap: float | None = Field(default=15.0, gt=0)
    """Logits are squashed into (-softcap, softcap)."""

    def config(self, *, vocab_size: int, max_length: int) -> TransformerConfig:
        return TransformerConfig(
            **self._sizes(gated=False), family="nanochat", vocab_size=vocab_size, max_length=max_length,
            activation="relu2", norm_weight=False, norm_eps=1e-6, qk_norm="plain", embed_norm=True,
            rope_theta=10000.0, rope_direction=-1, softcap=self.softcap, tied=False,
        )  # fmt: skip


class Llama(Decoder):
    """Llama (Touvron et al. 2023, arXiv:2302.13971): SwiGLU, norms with gains."""

    tied: bool = False
    """Whether embedding and head share their weights: fewer parameters, for small models with a large vocabulary."""

    def config(self, *, vocab_size: int, max_length: int) -> TransformerConfig:
        sizes = self._sizes(gated=True)
        if self.dim % sizes["heads"]:  # transformers refuses such a Llama, even one that has a head_dim
            raise RecipeError(f"heads must divide dim ({self.dim}); got {self._said(sizes['heads'])}")
        return TransformerConfig(
            **sizes, family="llama", vocab_size=vocab_size, max_length=max_length,
            activation="swiglu", norm_weight=True, norm_eps=1e-6, qk_norm="none", embed_norm=False,
            rope_theta=10000.0, rope_direction=1, softcap=None, tied=self.tied,
        )  # fmt: skip


class Qwen3(Decoder):
    """Qwen3 (Yang et al. 2025, arXiv:2505.09388): Llama's block with QK-norm."""

    tied: bool = False
    """Whether embedding and head share their weights: fewer parameters, for small models with a large vocabulary."""

    def config(self, *, vocab_size: int, max_length: int) -> TransformerConfig:
        return TransformerConfig(
            **self._sizes(gated=True), family="qwen3", vocab_size=vocab_size, max_length=max_length,
            activation="swiglu", norm_weight=True, norm_eps=1e-6, qk_norm="weight", embed_norm=False,
            rope_theta=10000.0, rope_direction=1, softcap=None, tied=self.tied,
        )  # fmt: skip

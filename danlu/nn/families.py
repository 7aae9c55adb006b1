"""Families: what a recipe says about a model, turned into a :class:`TransformerConfig`.

``gpt`` is Danlu's own choice of decoder; its folders load in stock ``transformers`` as nanochat.
The choice was measured: ``docs/decisions/0003-decoder-block.md``.
"""

from __future__ import annotations

from typing import Protocol, Self

from pydantic import Field, model_validator

from danlu.errors import RecipeError
from danlu.nn.config import (
    MLP,
    Attention,
    Entry,
    Head,
    Layer,
    Norm,
    Rotary,
    Stack,
    TransformerConfig,
)  # fmt: skip
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

    def _decoder(
        self, *, gated: bool, norm: Norm, qk_norm: Norm | None, rotary: Rotary, entry: Entry | None = None
    ) -> Stack:
        heads = self.heads or max(1, self.dim // (128 if self.dim >= 256 else 64))
        if self.head_dim is None and self.dim % (2 * heads):  # rotary positions turn pairs
            raise RecipeError(
                f"dim ({self.dim}) divided by heads must be an even whole number, or head_dim be given; "
                f"got heads {self._said(heads)}"
            )
        attention = Attention(
            heads=heads, kv_heads=self.kv_heads or heads, head_dim=self.head_dim or self.dim // heads,
            rotary=rotary, qk_norm=qk_norm,
        )  # fmt: skip
        gated_hidden = (self.dim * 8 // 3 + 63) // 64 * 64
        hidden = self.hidden or (gated_hidden if gated else 4 * self.dim)
        layer = Layer(attention, MLP(hidden, "silu" if gated else "relu2", gated=gated))
        return Stack(layers=(layer,) * self.layers, norm=norm, causal=True, entry=entry or Entry())

    def _said(self, heads: int) -> str:
        return f"{heads}{'' if self.heads else ' (the default)'}"


class GPT(Decoder):
    """nanochat's block: norms without gains, QK-norm, ReLU², soft-capped logits, untied head."""

    softcap: float | None = Field(default=15.0, gt=0)
    """Logits are squashed into (-softcap, softcap)."""

    def config(self, *, vocab_size: int, max_length: int) -> TransformerConfig:
        norm = Norm("rms", 1e-6, weight=False)
        decoder = self._decoder(
            gated=False, norm=norm, qk_norm=norm, rotary=Rotary(direction=-1), entry=Entry(norm=norm)
        )
        return TransformerConfig(
            family="nanochat", vocab_size=vocab_size, dim=self.dim, max_length=max_length, decoder=decoder,
            head=Head(softcap=self.softcap),
        )  # fmt: skip


class Llama(Decoder):
    """Llama (Touvron et al. 2023, arXiv:2302.13971): SwiGLU, norms with gains."""

    tied: bool = False
    """Whether embedding and head share their weights: fewer parameters, for small models with a large vocabulary."""

    def config(self, *, vocab_size: int, max_length: int) -> TransformerConfig:
        decoder = self._decoder(gated=True, norm=Norm(), qk_norm=None, rotary=Rotary())
        heads = decoder.layers[0].attention.heads
        if self.dim % heads:  # transformers refuses such a Llama, even one that has a head_dim
            raise RecipeError(f"heads must divide dim ({self.dim}); got {self._said(heads)}")
        return TransformerConfig(
            family="llama", vocab_size=vocab_size, dim=self.dim, max_length=max_length, decoder=decoder,
            head=Head(tied=self.tied),
        )  # fmt: skip


class Qwen3(Decoder):
    """Qwen3 (Yang et al. 2025, arXiv:2505.09388): Llama's block with QK-norm."""

    tied: bool = False
    """Whether embedding and head share their weights: fewer parameters, for small models with a large vocabulary."""

    def config(self, *, vocab_size: int, max_length: int) -> TransformerConfig:
        return TransformerConfig(
            family="qwen3", vocab_size=vocab_size, dim=self.dim, max_length=max_length,
            decoder=self._decoder(gated=True, norm=Norm(), qk_norm=Norm(), rotary=Rotary()),
            head=Head(tied=self.tied),
        )  # fmt: skip

"""Decoders, with the head of a language model.

``gpt`` is Danlu's own choice; its folders load in stock ``transformers`` as nanochat.
The choice was measured: ``docs/decisions/0003-decoder-block.md``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Self

from pydantic import Field, model_validator

from danlu.errors import RecipeError
from danlu.nn.config import (
    MLP,
    Attention,
    Entry,
    Experts,
    Head,
    Layer,
    Norm,
    Positions,
    Rotary,
    Stack,
    TransformerConfig,
)  # fmt: skip
from danlu.nn.families.family import Classic, check_fits, default_heads, gated_hidden, layer_norm
from danlu.nn.patterns import Window
from danlu.recipe import Choice


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
        check_fits(self)
        return self

    def _decoder(
        self, *, gated: bool, norm: Norm, qk_norm: Norm | None, rotary: Rotary, entry: Entry | None = None
    ) -> Stack:
        heads = self.heads or default_heads(self.dim)
        if self.head_dim is None and self.dim % (2 * heads):  # rotary positions turn pairs
            raise RecipeError(
                f"dim ({self.dim}) divided by heads must be an even whole number, or head_dim be given; "
                f"got heads {self._said(heads)}"
            )
        attention = Attention(
            heads=heads, kv_heads=self.kv_heads or heads, head_dim=self.head_dim or self.dim // heads,
            rotary=rotary, qk_norm=qk_norm,
        )  # fmt: skip
        hidden = self.hidden or (gated_hidden(self.dim) if gated else 4 * self.dim)
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


class Mistral(Decoder):
    """Mistral (Jiang et al. 2023, arXiv:2310.06825): Llama's block, each position sees the last ``window`` ones."""

    window: int = Field(default=512, ge=1)
    """Positions that a layer sees, its own among them; Mistral 7B has 4096. So many layers see further."""

    def config(self, *, vocab_size: int, max_length: int) -> TransformerConfig:
        decoder = self._decoder(gated=True, norm=Norm(), qk_norm=None, rotary=Rotary())
        layer = decoder.layers[0]
        windowed = replace(layer, attention=replace(layer.attention, pattern=Window(self.window - 1)))
        return TransformerConfig(
            family="mistral", vocab_size=vocab_size, dim=self.dim, max_length=max_length,
            decoder=replace(decoder, layers=(windowed,) * self.layers), head=Head(),
        )  # fmt: skip


class Qwen3MoE(Decoder):
    """Qwen3-MoE (Yang et al. 2025, arXiv:2505.09388): Qwen3 with a mixture of experts in place of each MLP."""

    hidden: int | None = Field(default=None, ge=1)
    """Width inside an expert; by default those that a token takes are together as wide as Qwen3's MLP."""
    experts: int = Field(default=8, ge=1)
    """Experts of a layer; Qwen3-30B-A3B has 128."""
    per_token: int = Field(default=2, ge=1)
    """Experts that a token takes; Qwen3-30B-A3B has 8."""
    balance: float = Field(default=0.01, ge=0, lt=1)
    """Weight of the loss that keeps the experts equally busy (Fedus et al. 2022, arXiv:2101.03961); Qwen3's folders
    name 0.001."""
    tied: bool = False
    """Whether embedding and head share their weights: fewer parameters, for small models with a large vocabulary."""

    def config(self, *, vocab_size: int, max_length: int) -> TransformerConfig:
        decoder = self._decoder(gated=True, norm=Norm(), qk_norm=Norm(), rotary=Rotary())
        experts = Experts(
            count=self.experts, per_token=self.per_token, balance=self.balance,
            hidden=self.hidden or -(-gated_hidden(self.dim) // self.per_token),
        )  # fmt: skip
        return TransformerConfig(
            family="qwen3_moe", vocab_size=vocab_size, dim=self.dim, max_length=max_length,
            decoder=replace(decoder, layers=(replace(decoder.layers[0], mlp=experts),) * self.layers),
            head=Head(tied=self.tied),
        )  # fmt: skip


class GPT2(Classic):
    """GPT-2 (Radford et al. 2019): norms before each part, GELU, a tied head."""

    def config(self, *, vocab_size: int, max_length: int) -> TransformerConfig:
        attention, mlp = self._attention(), self._mlp(tanh=True)
        decoder = Stack(
            layers=(Layer(replace(attention, scale=attention.head_dim**-0.5), mlp),) * self.layers,
            norm=layer_norm(1e-5), causal=True, entry=Entry(Positions("learned"), dropout=self.dropout),
            dropout=self.dropout,
        )  # fmt: skip
        return TransformerConfig(
            family="gpt2", vocab_size=vocab_size, dim=self.dim, max_length=max_length, decoder=decoder,
            head=Head(tied=True),
        )  # fmt: skip

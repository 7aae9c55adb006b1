"""Encoders, with the head of a masked language model."""

from __future__ import annotations

from dataclasses import replace
from typing import Self

from pydantic import Field, model_validator

from danlu.errors import RecipeError
from danlu.nn.config import (
    MLP,
    Attention,
    Dense,
    Entry,
    Head,
    Labels,
    Layer,
    Norm,
    Positions,
    Pretraining,
    Rotary,
    Stack,
    TransformerConfig,
)  # fmt: skip
from danlu.nn.families.family import Classic, check_fits, divided, layer_norm
from danlu.nn.patterns import Full, Window
from danlu.recipe import Choice

ROBERTA_OFFSET = 2
"""RoBERTa's positions begin behind its padding token, which is 1."""


class Bert(Classic):
    """BERT (Devlin et al. 2019, arXiv:1810.04805): norms after each part, two token types, a tied head."""

    def config(self, *, vocab_size: int, max_length: int) -> TransformerConfig:
        norm = layer_norm(1e-12)
        return TransformerConfig(
            family="bert", vocab_size=vocab_size, dim=self.dim, max_length=max_length,
            encoder=_post_norm(self, Layer(self._attention(), self._mlp()), norm, Positions("learned"), types=2),
            head=Head(tied=True, bias=True, transform=Dense("gelu", norm)),
        )  # fmt: skip


class Roberta(Classic):
    """RoBERTa (Liu et al. 2019, arXiv:1907.11692): BERT's block, one token type, positions behind the padding's.

    Its padding token must be 1, as it is in a tokenizer that is trained with special tokens.
    """

    def config(self, *, vocab_size: int, max_length: int) -> TransformerConfig:
        norm, positions = layer_norm(1e-5), Positions("learned", ROBERTA_OFFSET)
        return TransformerConfig(
            family="roberta", vocab_size=vocab_size, dim=self.dim, max_length=max_length,
            encoder=_post_norm(self, Layer(self._attention(), self._mlp()), norm, positions, types=1),
            head=Head(tied=True, bias=True, transform=Dense("gelu", norm)),
        )  # fmt: skip


def _post_norm(sizes: Classic, layer: Layer, norm: Norm, positions: Positions, *, types: int) -> Stack:
    return Stack(
        layers=(layer,) * sizes.layers, norm=norm, causal=False, place="post", final_norm=False,
        entry=Entry(positions, types=types, norm=norm, dropout=sizes.dropout), dropout=sizes.dropout,
    )  # fmt: skip


def with_pair_head(config: TransformerConfig) -> TransformerConfig:
    """BERT with both of its heads: words, and whether the second sentence follows the first.

    Raises:
        RecipeError: it is another family, whose folders have no place for the second head.
    """
    if isinstance(config.head, Pretraining):
        return config
    if config.family != "bert" or not isinstance(config.head, Head):
        raise RecipeError(f"pairs of sentences need the model bert; got {config.family}")
    return replace(config, head=Pretraining(config.head, Labels(2, "first", Dense("tanh"))))


class ModernBert(Choice):
    """ModernBERT (Warner et al. 2024, arXiv:2412.13663): rotary positions, GeGLU, windows, no biases, a tied head."""

    layers: int = Field(default=6, ge=1)
    """Blocks, one on top of the other."""
    dim: int = Field(default=384, ge=2)
    """Model width."""
    heads: int | None = Field(default=None, ge=1)
    """Attention heads; by default one per 128 of width (64 below 256), where attention is fastest."""
    hidden: int | None = Field(default=None, ge=1)
    """Width inside the MLP; by default one and a half times the model's, as published."""
    window: int = Field(default=128, ge=2, multiple_of=2)
    """Positions that most layers see: half of them before, half behind."""
    global_every: int = Field(default=3, ge=1)
    """The first of so many layers sees the whole row."""
    theta: float = Field(default=10_000.0, gt=1)
    """Base of the rotary positions of those; published: 10,000 up to 1,024 tokens, then 160,000 up to 8,192."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Of embeddings and inside the MLP; 0 as published."""
    attention_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Of attention weights and of what attention gives; 0 as published. Attention is much slower with it."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        check_fits(self)
        return self

    def config(self, *, vocab_size: int, max_length: int) -> TransformerConfig:
        norm = Norm("layer", 1e-5)
        stack = Stack(
            layers=tuple(self._layer(number) for number in range(self.layers)), norm=norm, causal=False,
            entry=Entry(norm=norm, dropout=self.dropout),
        )  # fmt: skip
        return TransformerConfig(
            family="modernbert", vocab_size=vocab_size, dim=self.dim, max_length=max_length, encoder=stack,
            head=Head(tied=True, bias=True, transform=Dense("gelu", norm, bias=False)),
        )  # fmt: skip

    def _layer(self, number: int) -> Layer:
        heads, width = divided(self.dim, self.heads)
        half, whole = self.window // 2, number % self.global_every == 0
        attention = Attention(
            heads=heads, kv_heads=heads, head_dim=width, rotary=Rotary(self.theta) if whole else Rotary(),
            pattern=Full() if whole else Window(half, half), dropout=self.attention_dropout,
            out_dropout=self.attention_dropout,
        )  # fmt: skip
        mlp = MLP(self.hidden or max(1, self.dim * 3 // 2), "gelu", gated=True, dropout=self.dropout)
        return Layer(attention, mlp, first_norm=number > 0)

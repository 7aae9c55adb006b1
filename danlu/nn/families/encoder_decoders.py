"""Encoder-decoders: one side reads a text, the other writes one."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from danlu.nn.config import (
    MLP,
    UNBOUNDED,
    Attention,
    Entry,
    Head,
    Layer,
    Norm,
    Positions,
    RelativeBias,
    Stack,
    TransformerConfig,
)
from danlu.nn.families.family import Classic, check_fits, default_heads, divided, gated_hidden, layer_norm
from danlu.recipe import Choice

BART_OFFSET = 2
"""Rows of BART's position tables before that of position 0."""


class T5(Choice):
    """T5 (Raffel et al. 2020, arXiv:1910.10683): RMSNorm, a bias of scores for each distance, no other positions.

    A row may be as long as memory allows: distances above 128 are alike.
    """

    layers: int = Field(default=6, ge=1)
    """Blocks of the encoder."""
    decoder_layers: int | None = Field(default=None, ge=1)
    """Blocks of the decoder; by default as many."""
    dim: int = Field(default=384, ge=2)
    """Model width."""
    heads: int | None = Field(default=None, ge=1)
    """Attention heads; by default one per 128 of width (64 below 256), where attention is fastest."""
    head_dim: int | None = Field(default=None, ge=1)
    """Width of a head; by default ``dim / heads``. Published models have 64, whatever their width."""
    hidden: int | None = Field(default=None, ge=1)
    """Width inside the MLP."""
    mlp: Literal["geglu", "relu"] = "geglu"
    """``geglu`` is T5 v1.1 (Shazeer 2020, arXiv:2002.05202), whose head is not tied; ``relu`` the first T5, whose head
    is."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Everywhere: embeddings, attention weights, inside the MLP, of what each part adds. T5 v1.1 was pretrained with 0,
    the first T5 with 0.1; steps are much slower with it."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        check_fits(self)
        return self

    def config(self, *, vocab_size: int, max_length: int) -> TransformerConfig:
        heads = self.heads or default_heads(self.dim)
        width = self.head_dim or divided(self.dim, self.heads)[1]
        gated = self.mlp == "geglu"
        attention = Attention(heads=heads, kv_heads=heads, head_dim=width, scale=1.0, dropout=self.dropout)
        mlp = MLP(
            self.hidden or (gated_hidden(self.dim) if gated else 4 * self.dim), "gelu_tanh" if gated else "relu",
            gated=gated, dropout=self.dropout,
        )  # fmt: skip
        alike: dict[str, Any] = {
            "norm": Norm(), "bias": RelativeBias(), "entry": Entry(dropout=self.dropout), "dropout": self.dropout,
            "final_dropout": self.dropout,
        }  # fmt: skip
        above = self.decoder_layers or self.layers
        return TransformerConfig(
            family="t5", vocab_size=vocab_size, dim=self.dim, max_length=UNBOUNDED,
            encoder=Stack(layers=(Layer(attention, mlp),) * self.layers, causal=False, **alike),
            decoder=Stack(layers=(Layer(attention, mlp, cross=attention),) * above, causal=True, **alike),
            head=Head() if gated else Head(tied=True, scale=self.dim**-0.5),
        )  # fmt: skip


class Bart(Classic):
    """BART (Lewis et al. 2020, arXiv:1910.13461): the block of BERT on both sides, a tied head."""

    decoder_layers: int | None = Field(default=None, ge=1)
    """Blocks of the decoder; by default as many as the encoder's ``layers``."""

    def config(self, *, vocab_size: int, max_length: int) -> TransformerConfig:
        attention, mlp, norm = self._attention(), self._mlp(), layer_norm(1e-5)
        alike: dict[str, Any] = {
            "norm": norm, "place": "post", "final_norm": False, "dropout": self.dropout,
            "entry": Entry(Positions("learned", BART_OFFSET), norm=norm, dropout=self.dropout),
        }  # fmt: skip
        above = self.decoder_layers or self.layers
        return TransformerConfig(
            family="bart", vocab_size=vocab_size, dim=self.dim, max_length=max_length,
            encoder=Stack(layers=(Layer(attention, mlp),) * self.layers, causal=False, **alike),
            decoder=Stack(layers=(Layer(attention, mlp, cross=attention),) * above, causal=True, **alike),
            head=Head(tied=True, bias=True),  # of zeros in published models, whose folders have it all the same
        )  # fmt: skip

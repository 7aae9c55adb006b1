"""What all families have in common, and the settings of those that were published before Llama."""

from __future__ import annotations

from typing import Protocol, Self

from pydantic import Field, model_validator

from danlu.errors import RecipeError
from danlu.nn.config import MLP, Attention, Norm, TransformerConfig
from danlu.recipe import Choice


class Family(Protocol):
    """A choice of model."""

    def config(self, *, vocab_size: int, max_length: int) -> TransformerConfig:
        """The shape for this vocabulary and this longest row of tokens."""
        ...


def check_fits(family: Family) -> None:
    """Refuse sizes that do not fit when the recipe is loaded, not when, hours later, the model is built.

    Raises:
        ValueError: with what ``config`` says; ``build`` puts the key before it.
    """
    try:
        family.config(vocab_size=2, max_length=2)
    except RecipeError as error:
        raise ValueError(str(error)) from None


def default_heads(dim: int) -> int:
    """One head per 128 of width (64 below 256), where attention is fastest."""
    return max(1, dim // (128 if dim >= 256 else 64))


def divided(dim: int, heads: int | None) -> tuple[int, int]:
    """How many heads there are, and their width, where all heads together are as wide as the model.

    Raises:
        RecipeError: they cannot be.
    """
    count = heads or default_heads(dim)
    if dim % count:
        raise RecipeError(f"heads must divide dim ({dim}); got {count}{'' if heads else ' (the default)'}")
    return count, dim // count


def gated_hidden(dim: int) -> int:
    """Width inside a gated MLP that has as many weights as a plain one of four times the model's width."""
    return (dim * 8 // 3 + 63) // 64 * 64


class Classic(Choice):
    """The settings of GPT-2, BERT, RoBERTa and BART: LayerNorm, biases, learned positions, as many keys as queries."""

    layers: int = Field(default=6, ge=1)
    """Blocks, one on top of the other."""
    dim: int = Field(default=384, ge=2)
    """Model width."""
    heads: int | None = Field(default=None, ge=1)
    """Attention heads; by default one per 128 of width (64 below 256), where attention is fastest."""
    hidden: int | None = Field(default=None, ge=1)
    """Width inside the MLP; by default four times the model's."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Of embeddings and of what each part adds to the stream. Published models have 0.1; 0 makes steps faster, and a
    text that is read a few times only is not learned by heart."""
    attention_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Of attention weights; published models have 0.1 (BART 0). Attention is much slower with it."""

    def config(self, *, vocab_size: int, max_length: int) -> TransformerConfig:
        """The shape; a family's own."""
        raise NotImplementedError(type(self).__name__)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        check_fits(self)
        return self

    def _attention(self) -> Attention:
        heads, width = divided(self.dim, self.heads)
        return Attention(
            heads=heads, kv_heads=heads, head_dim=width, bias=True, out_bias=True, dropout=self.attention_dropout
        )

    def _mlp(self, *, tanh: bool = False) -> MLP:
        return MLP(self.hidden or 4 * self.dim, "gelu_tanh" if tanh else "gelu", bias=True)


def layer_norm(eps: float) -> Norm:
    """LayerNorm with gains and biases (Ba et al. 2016, arXiv:1607.06450)."""
    return Norm("layer", eps, bias=True)

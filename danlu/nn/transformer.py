"""The Transformer: tokens in, hidden states out; its head turns hidden states into logits.

Axes: B batch, T tokens, D model width, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from danlu.nn.attention import Attention
from danlu.nn.cache import KVCache
from danlu.nn.config import TransformerConfig
from danlu.nn.head import LanguageModelHead
from danlu.nn.mlp import MLP
from danlu.nn.norm import RMSNorm
from danlu.nn.positions import rotary_table


class Block(nn.Module):
    """Attention, then the MLP, each behind a norm and added to the stream (pre-norm)."""

    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        self.norm_attention, self.norm_mlp = (
            RMSNorm(config.dim, eps=config.norm_eps, weight=config.norm_weight) for _ in range(2)
        )
        self.attention = Attention(config, layer)
        self.mlp = MLP(config)

    def forward(
        self, x_BTD: Tensor, rotary: tuple[Tensor, Tensor], segments: Tensor | None, cache: KVCache | None
    ) -> Tensor:
        x_BTD = x_BTD + self.attention(self.norm_attention(x_BTD), rotary, segments, cache)
        x_BTD = x_BTD + self.mlp(self.norm_mlp(x_BTD))
        return x_BTD


class Transformer(nn.Module):
    """A decoder built from ``config``; ``head`` may be replaced per task."""

    cos_TF: Tensor
    sin_TF: Tensor

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.dim)
        self.norm_embedding = RMSNorm(config.dim, eps=config.norm_eps, weight=False) if config.embed_norm else None
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.layers))
        self.norm = RMSNorm(config.dim, eps=config.norm_eps, weight=config.norm_weight)
        self.head = LanguageModelHead(config)
        if config.tied:
            self.head.tie(self.embedding)
        self.set_rotary()

    def set_rotary(self) -> None:
        """Make the rotary tables, which no checkpoint holds; again for a model that was built on ``meta``."""
        config = self.config
        cos, sin = rotary_table(
            config.max_length, config.head_dim, theta=config.rope_theta, direction=config.rope_direction
        )
        self.register_buffer("cos_TF", cos, persistent=False)
        self.register_buffer("sin_TF", sin, persistent=False)

    def forward(self, tokens_BT: Tensor, *, segments: Tensor | None = None, cache: KVCache | None = None) -> Tensor:
        """Hidden states ``[B, T, D]``, normed, fit for ``self.head``.

        Args:
            tokens_BT: token ids.
            segments: ``[B, T]`` document numbers; tokens of different documents never see each other.
            cache: keys and values of earlier tokens; the new ones are added to it.

        Raises:
            ValueError: more tokens than ``config.max_length``.
        """
        start = cache.used if cache is not None else 0
        end = start + tokens_BT.shape[1]
        if end > self.config.max_length:
            raise ValueError(f"the model sees at most {self.config.max_length} tokens; got {end}")
        if segments is not None:
            segments = segments.int()
        rotary = (self.cos_TF[start:end], self.sin_TF[start:end])
        x_BTD = self.embedding(tokens_BT)
        if self.norm_embedding is not None:
            x_BTD = self.norm_embedding(x_BTD)
        for block in self.blocks:
            x_BTD = block(x_BTD, rotary, segments, cache)
        if cache is not None:
            cache.used = end
        hidden: Tensor = self.norm(x_BTD)
        return hidden

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Draw all weights from ``seed``: matrices N(0, 1/fan-in); what writes to the stream, and an untied head, 0.

        Zero output projections make every block the identity at the start (Zhang et al. 2019,
        arXiv:1901.09321; so do nanochat and modded-nanogpt). An embedding behind a norm is N(0, 1).
        """
        generator = torch.Generator().manual_seed(seed)
        for name, weight in self.named_parameters():
            if weight.ndim == 1:
                weight.fill_(1.0)
            elif name == "embedding.weight":
                weight.normal_(0.0, 1.0 if self.config.embed_norm else 0.02, generator=generator)
            elif name.endswith(("attention.out.weight", "mlp.down.weight", "head.weight")):
                weight.zero_()
            else:
                weight.normal_(0.0, weight.shape[1] ** -0.5, generator=generator)

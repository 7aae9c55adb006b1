"""Causal self-attention: grouped heads, rotary positions, optional QK-norm, documents kept apart.

Axes: B batch, T tokens, D model width, H query heads, G key/value heads, E head width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.nn.blocked import LONGEST, BlockedAttention
from danlu.nn.cache import KVCache
from danlu.nn.config import TransformerConfig
from danlu.nn.norm import RMSNorm
from danlu.nn.positions import rotate


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al. 2017), grouped-query where ``kv_heads < heads`` (Ainslie et al. 2023)."""

    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.head_dim = config.head_dim
        self.query = nn.Linear(config.dim, config.heads * config.head_dim, bias=False)
        self.key = nn.Linear(config.dim, config.kv_heads * config.head_dim, bias=False)
        self.value = nn.Linear(config.dim, config.kv_heads * config.head_dim, bias=False)
        self.out = nn.Linear(config.heads * config.head_dim, config.dim, bias=False)
        self.norm_q, self.norm_k = (_head_norm(config) for _ in "qk")

    def forward(
        self, x_BTD: Tensor, rotary: tuple[Tensor, Tensor], segments: Tensor | None, cache: KVCache | None
    ) -> Tensor:
        q_BHTE = rotate(self.norm_q(self._heads(self.query(x_BTD))), *rotary)
        k_BGTE = rotate(self.norm_k(self._heads(self.key(x_BTD))), *rotary)
        v_BGTE = self._heads(self.value(x_BTD))
        if cache is not None:
            k_BGTE, v_BGTE = cache.extend(self.layer, k_BGTE, v_BGTE)
        out_BHTE = attend(q_BHTE, k_BGTE, v_BGTE, segments=segments)
        out: Tensor = self.out(out_BHTE.transpose(1, 2).flatten(2))
        return out

    def _heads(self, x_BTF: Tensor) -> Tensor:
        batch, length, _ = x_BTF.shape
        return x_BTF.view(batch, length, -1, self.head_dim).transpose(1, 2)


def _head_norm(config: TransformerConfig) -> nn.Module:
    """The norm of queries or keys, over the head's width (Henry et al. 2020, arXiv:2010.04245)."""
    if config.qk_norm == "none":
        return nn.Identity()
    return RMSNorm(config.head_dim, eps=config.norm_eps, weight=config.qk_norm == "weight")


def attend(q_BHTE: Tensor, k_BGSE: Tensor, v_BGSE: Tensor, *, segments: Tensor | None = None) -> Tensor:
    """Causal softmax attention ``[B, H, T, E]``; the T queries are the last T of the S positions.

    Args:
        segments: ``[B, T]`` document numbers where T = S; tokens of different documents never see each other.
    """
    queries, positions, heads = q_BHTE.shape[2], k_BGSE.shape[2], q_BHTE.shape[1]
    if torch.compiler.is_compiling() and q_BHTE.device.type == "cpu" and queries == positions <= LONGEST:
        repeats = heads // k_BGSE.shape[1]
        k_BHSE, v_BHSE = (x.repeat_interleave(repeats, 1) if repeats > 1 else x for x in (k_BGSE, v_BGSE))
        out: Tensor = BlockedAttention.apply(q_BHTE, k_BHSE, v_BHSE, segments)  # type: ignore[no-untyped-call]
        return out
    mask = None
    if segments is not None:
        mask = document_mask(segments)
    elif 1 < queries < positions:
        mask = causal_mask(queries, positions, device=q_BHTE.device)
    return F.scaled_dot_product_attention(
        q_BHTE, k_BGSE, v_BGSE, attn_mask=mask, is_causal=mask is None and queries > 1,
        enable_gqa=heads != k_BGSE.shape[1],
    )  # fmt: skip


def causal_mask(queries: int, positions: int, *, device: torch.device) -> Tensor:
    """``[T, S]``: query ``t`` is position ``S - T + t`` and sees no later one."""
    return torch.ones(queries, positions, dtype=torch.bool, device=device).tril(positions - queries)


def document_mask(segments_BT: Tensor) -> Tensor:
    """``[B, 1, T, T]``: a token sees the earlier ones of its own document only, exactly."""
    same = segments_BT[:, None, :, None] == segments_BT[:, None, None, :]
    length = segments_BT.shape[1]
    return same & causal_mask(length, length, device=segments_BT.device)

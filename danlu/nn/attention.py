"""Causal self-attention: grouped heads, rotary positions, optional QK-norm, documents kept apart.

Axes: B batch, T tokens, D model width, H query heads, G key/value heads, E head width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
        self.norm_q, self.norm_k = (
            (nn.Identity(), nn.Identity())
            if config.qk_norm == "none"
            else (RMSNorm(config.head_dim, eps=config.norm_eps, weight=config.qk_norm == "weight") for _ in "qk")
        )

    def forward(
        self, x_BTD: Tensor, rotary: tuple[Tensor, Tensor], mask: Tensor | None, cache: KVCache | None
    ) -> Tensor:
        q_BHTE = rotate(self.norm_q(self._heads(self.query(x_BTD))), *rotary)
        k_BGTE = rotate(self.norm_k(self._heads(self.key(x_BTD))), *rotary)
        v_BGTE = self._heads(self.value(x_BTD))
        if cache is not None:
            k_BGTE, v_BGTE = cache.extend(self.layer, k_BGTE, v_BGTE)
        out_BHTE = attend(q_BHTE, k_BGTE, v_BGTE, mask=mask)
        out: Tensor = self.out(out_BHTE.transpose(1, 2).flatten(2))
        return out

    def _heads(self, x_BTF: Tensor) -> Tensor:
        return x_BTF.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)


def attend(q_BHTE: Tensor, k_BGSE: Tensor, v_BGSE: Tensor, *, mask: Tensor | None) -> Tensor:
    """Softmax attention ``[B, H, T, E]``; ``mask`` (True: may be seen) or, without one, causal.

    Without a mask the T queries are the last T of the S positions.
    """
    queries, positions = q_BHTE.shape[2], k_BGSE.shape[2]
    if mask is None and 1 < queries < positions:
        mask = causal_mask(queries, positions, device=q_BHTE.device)
    grouped = q_BHTE.shape[1] != k_BGSE.shape[1]
    causal = mask is None and queries > 1
    return F.scaled_dot_product_attention(
        q_BHTE, k_BGSE, v_BGSE, attn_mask=mask, is_causal=causal, enable_gqa=grouped
    )


def causal_mask(queries: int, positions: int, *, device: torch.device) -> Tensor:
    """``[T, S]``: query ``t`` is position ``S - T + t`` and sees no later one."""
    return torch.ones(queries, positions, dtype=torch.bool, device=device).tril(positions - queries)


def document_mask(segments_BT: Tensor) -> Tensor:
    """``[B, 1, T, T]``: a token sees the earlier ones of its own document only, exactly."""
    same = segments_BT[:, None, :, None] == segments_BT[:, None, None, :]
    length = segments_BT.shape[1]
    return same & causal_mask(length, length, device=segments_BT.device)

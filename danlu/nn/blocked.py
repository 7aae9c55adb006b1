"""Causal attention in blocks of queries, written as matrix products for ``torch.compile`` to fuse around.

On CPUs the products reach the rate of the processor's matrix units and the compiler fuses what
stands between them; a block of queries never touches the keys behind its end. The exponentials are
kept for the backward pass, unnormalised as in FlashAttention (Dao et al. 2022, arXiv:2205.14135):
their memory grows with the square of the length, so rows above ``LONGEST`` go another way.

Axes: B batch, H heads, T tokens, Q queries of a block, K keys up to its end, E head width.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

LONGEST = 2048
"""Tokens of the longest row that is worth its memory here."""


def block_length(length: int) -> int:
    """Queries handled at once: a quarter of the row, within 64 and 256."""
    return min(256, max(64, length // 4))


class BlockedAttention(torch.autograd.Function):
    """``apply(q, k, v, segments)``, each ``[B, H, T, E]``; ``segments`` ``[B, T]`` document numbers or None.

    A token sees itself and the earlier tokens of its own document.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, segments: Tensor | None) -> Tensor:
        outs, totals, kept = [], [], []
        for start, end in _blocks(q.shape[2]):
            scores = (q[:, :, start:end] @ k[:, :, :end].mT).float() * q.shape[-1] ** -0.5
            scores = scores + _mask(start, end, segments, q.device)
            exponentials = torch.exp(scores - scores.amax(-1, keepdim=True))
            total = exponentials.sum(-1, keepdim=True)
            weights = exponentials.to(v.dtype)
            outs.append(((weights @ v[:, :, :end]) / total).to(v.dtype))
            totals.append(total)
            kept.append(weights)
        out = torch.cat(outs, 2)
        ctx.save_for_backward(q, k, v, out, torch.cat(totals, 2), *kept)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q, k, v, out, total_BHT1, *kept = ctx.saved_tensors
        grad = grads[0]
        scale_BHT1 = q.shape[-1] ** -0.5 / total_BHT1
        inner_BHT1 = (grad.float() * out.float()).sum(-1, keepdim=True)
        shares = (grad / total_BHT1).to(grad.dtype)
        grad_q, grad_k, grad_v = [], [], []
        for (start, end), weights in zip(_blocks(q.shape[2]), kept, strict=True):
            block = slice(start, end)
            grad_weights = (grad[:, :, block] @ v[:, :, :end].mT).float() - inner_BHT1[:, :, block]
            grad_scores = (weights * grad_weights * scale_BHT1[:, :, block]).to(q.dtype)
            grad_q.append(grad_scores @ k[:, :, :end])
            grad_k.append(grad_scores.mT @ q[:, :, block])
            grad_v.append(weights.mT @ shares[:, :, block])
        return torch.cat(grad_q, 2), _sum_over_queries(grad_k), _sum_over_queries(grad_v), None


def _sum_over_queries(parts: list[Tensor]) -> Tensor:
    """Add up gradients ``[B, H, K, E]`` that reach to the ends of their blocks, in float32, block of keys by block.

    Written without a sum in place, which the compiler would turn into code that grows exponentially with the blocks.
    """
    sums, start = [], 0
    for number, part in enumerate(parts):
        end = part.shape[2]
        total = part[:, :, start:end].float()
        for later in parts[number + 1 :]:
            total = total + later[:, :, start:end].float()
        sums.append(total.to(part.dtype))
        start = end
    return torch.cat(sums, 2)


def _blocks(length: int) -> list[tuple[int, int]]:
    size = block_length(length)
    return [(start, min(length, start + size)) for start in range(0, length, size)]


def _mask(start: int, end: int, segments: Tensor | None, device: torch.device) -> Tensor:
    """``[1 or B, 1, Q, K]`` float32: 0 for the keys that the queries from ``start`` to ``end`` see, -inf for others."""
    queries = torch.arange(start, end, dtype=torch.int32, device=device)[:, None]
    visible = (torch.arange(end, dtype=torch.int32, device=device)[None, :] <= queries)[None, None]
    if segments is not None:
        visible = visible & (segments[:, None, start:end, None] == segments[:, None, None, :end])
    return torch.where(visible, 0.0, -math.inf)

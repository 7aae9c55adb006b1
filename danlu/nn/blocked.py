"""Causal attention in blocks of queries, written as matrix products for ``torch.compile`` to fuse around.

On CPUs the products reach the rate of the processor's matrix units and the compiler fuses what
stands between them; a block of queries never touches the keys behind its end, and memory grows with
the length, not its square (the recomputation of FlashAttention, Dao et al. 2022, arXiv:2205.14135).

Axes: B batch, H heads, T tokens, Q queries of a block, K keys up to its end, E head width.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def block_length(length: int) -> int:
    """Queries handled at once: a quarter of the row, within 64 and 256."""
    return min(256, max(64, length // 4))


class BlockedAttention(torch.autograd.Function):
    """``apply(q, k, v, segments)``, each ``[B, H, T, E]``; ``segments`` ``[B, T]`` document numbers or None.

    A token sees itself and the earlier tokens of its own document.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, segments: Tensor | None) -> Tensor:
        outs, sums = [], []
        for start, end in _blocks(q.shape[2]):
            scores = _scores(q[:, :, start:end], k[:, :, :end])
            scores = torch.where(_visible(start, end, segments, q.device), scores, -math.inf)
            highest = scores.amax(-1, keepdim=True)
            weights = torch.exp(scores - highest)
            total = weights.sum(-1, keepdim=True)
            outs.append(((weights.to(v.dtype) @ v[:, :, :end]) / total).to(v.dtype))
            sums.append(highest + torch.log(total))
        out, log_sum_BHT1 = torch.cat(outs, 2), torch.cat(sums, 2)
        ctx.save_for_backward(q, k, v, out, log_sum_BHT1, segments)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q, k, v, out, log_sum, segments = ctx.saved_tensors
        grad = grads[0]
        scale = q.shape[-1] ** -0.5
        inner = (grad.float() * out.float()).sum(-1, keepdim=True)
        grad_q, grad_k, grad_v = [], [], []
        for start, end in _blocks(q.shape[2]):
            block = slice(start, end)
            weights = torch.exp(_scores(q[:, :, block], k[:, :, :end]) - log_sum[:, :, block])
            weights = torch.where(_visible(start, end, segments, q.device), weights, 0.0)
            grad_weights = grad[:, :, block] @ v[:, :, :end].mT
            grad_scores = (weights * (grad_weights.float() - inner[:, :, block]) * scale).to(q.dtype)
            grad_q.append(grad_scores @ k[:, :, :end])
            grad_k.append(grad_scores.mT @ q[:, :, block])
            grad_v.append(weights.to(q.dtype).mT @ grad[:, :, block])
        return torch.cat(grad_q, 2), _sum_over_queries(grad_k), _sum_over_queries(grad_v), None


def _sum_over_queries(parts: list[Tensor]) -> Tensor:
    """Add up gradients ``[B, H, K, E]`` that reach to the ends of their blocks, in float32, block of keys by block.

    Written without a sum in place, which the compiler would turn into code that grows exponentially with the blocks.
    """
    sums, start = [], 0
    for number, part in enumerate(parts):
        end = part.shape[2]
        sums.append(sum(later[:, :, start:end].float() for later in parts[number:]).to(part.dtype))
        start = end
    return torch.cat(sums, 2)


def _blocks(length: int) -> list[tuple[int, int]]:
    size = block_length(length)
    return [(start, min(length, start + size)) for start in range(0, length, size)]


def _scores(q_BHQE: Tensor, k_BHKE: Tensor) -> Tensor:
    scale: float = q_BHQE.shape[-1] ** -0.5
    return (q_BHQE @ k_BHKE.mT).float() * scale


def _visible(start: int, end: int, segments: Tensor | None, device: torch.device) -> Tensor:
    """``[1 or B, 1, Q, K]``: which keys the queries from ``start`` to ``end`` see."""
    queries = torch.arange(start, end, dtype=torch.int32, device=device)[:, None]
    causal = (torch.arange(end, dtype=torch.int32, device=device)[None, :] <= queries)[None, None]
    if segments is None:
        return causal
    return causal & (segments[:, None, start:end, None] == segments[:, None, None, :end])

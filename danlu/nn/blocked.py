"""Attention in blocks of queries, written as matrix products for ``torch.compile`` to fuse around.

On CPUs the products reach the rate of the processor's matrix units and the compiler fuses what
stands between them; where it is causal, a block of queries never touches the keys behind its end. The exponentials are
kept for the backward pass, unnormalised as in FlashAttention (Dao et al. 2022, arXiv:2205.14135):
their memory grows with the square of the length, so rows above ``LONGEST`` go another way.

Axes: B batch, H heads, T tokens, Q queries of a block, K keys it can see, E head width.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.corpus.batches import PADDING

LONGEST = 2048
"""Tokens of the longest row that is worth its memory here."""


def block_length(length: int) -> int:
    """Queries handled at once: a quarter of the row, within 64 and 256."""
    return min(256, max(64, length // 4))


class BlockedAttention(torch.autograd.Function):
    """``apply(q, k, v, segments, bias, causal, scale)``, q ``[B, H, T, E]``, k and v ``[B, H, S, E]``.

    ``segments`` are document numbers of the queries ``[B, T]`` and of the keys ``[B, S]``, or None; ``bias``
    ``[1, H, T, S]`` or None is added to the scores. A token sees the tokens of its own document; where ``causal``,
    which is for equal T and S, the earlier ones and itself.
    """

    @staticmethod
    def forward(  # noqa: PLR0913 (what autograd hands over)
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        segments: tuple[Tensor, Tensor] | None,
        bias: Tensor | None,
        causal: bool,
        scale: float,
    ) -> Tensor:
        outs, totals, kept = [], [], []
        for start, stop in _blocks(q.shape[2]):
            end = stop if causal else k.shape[2]
            scores = (q[:, :, start:stop] @ k[:, :, :end].mT).float() * scale
            mask = _mask(slice(start, stop), end, segments, causal, q.device)
            scores = scores if bias is None else scores + bias[:, :, start:stop, :end].float()
            scores = scores if mask is None else scores + mask
            exponentials = torch.exp(scores - scores.amax(-1, keepdim=True))
            total = exponentials.sum(-1, keepdim=True)
            weights = exponentials.to(v.dtype)
            outs.append(((weights @ v[:, :, :end]) / total).to(v.dtype))
            totals.append(total)
            kept.append(weights)
        out = torch.cat(outs, 2)
        ctx.save_for_backward(q, k, v, out, torch.cat(totals, 2), *kept)
        ctx.causal, ctx.scale, ctx.learns_bias = causal, scale, bias is not None and ctx.needs_input_grad[4]
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, total_BHT1, *kept = ctx.saved_tensors
        grad = grads[0]
        share_BHT1 = 1.0 / total_BHT1
        inner_BHT1 = (grad.float() * out.float()).sum(-1, keepdim=True)
        shares = (grad / total_BHT1).to(grad.dtype)
        grad_q, grad_k, grad_v, grad_bias = [], [], [], []
        for (start, stop), weights in zip(_blocks(q.shape[2]), kept, strict=True):
            block, end = slice(start, stop), weights.shape[3]
            grad_weights = (grad[:, :, block] @ v[:, :, :end].mT).float() - inner_BHT1[:, :, block]
            wide = weights * grad_weights * share_BHT1[:, :, block]
            if ctx.learns_bias:
                grad_bias.append(F.pad(wide.sum(0, keepdim=True), (0, k.shape[2] - end)).to(q.dtype))
            grad_scores = (wide * ctx.scale).to(q.dtype)
            grad_q.append(grad_scores @ k[:, :, :end])
            grad_k.append(grad_scores.mT @ q[:, :, block])
            grad_v.append(weights.mT @ shares[:, :, block])
        of_bias = torch.cat(grad_bias, 2) if ctx.learns_bias else None
        return torch.cat(grad_q, 2), _sum_over_queries(grad_k), _sum_over_queries(grad_v), None, of_bias, None, None


def _sum_over_queries(parts: list[Tensor]) -> Tensor:
    """Add up gradients ``[B, H, K, E]`` that reach to the ends of their blocks, in float32, block of keys by block.

    Written without a sum in place, which the compiler would turn into code that grows exponentially with the blocks.
    """
    sums, start = [], 0
    for number, part in enumerate(parts):
        end = part.shape[2]
        if end == start:  # all reach as far as the first
            break
        total = part[:, :, start:end].float()
        for later in parts[number + 1 :]:
            total = total + later[:, :, start:end].float()
        sums.append(total.to(part.dtype))
        start = end
    return torch.cat(sums, 2)


def _blocks(length: int) -> list[tuple[int, int]]:
    size = block_length(length)
    return [(start, min(length, start + size)) for start in range(0, length, size)]


def _mask(
    block: slice, end: int, segments: tuple[Tensor, Tensor] | None, causal: bool, device: torch.device
) -> Tensor | None:
    """``[1 or B, 1, Q, K]`` float32: 0 for the keys before ``end`` that the block's queries see, -inf for others."""
    visible = None
    if causal:
        queries = torch.arange(block.start, block.stop, dtype=torch.int32, device=device)[:, None]
        visible = (torch.arange(end, dtype=torch.int32, device=device)[None, :] <= queries)[None, None]
    if segments is not None:
        of_queries, of_keys = segments
        query = of_queries[:, None, block, None]
        same = (query == of_keys[:, None, None, :end]) | (query == PADDING)  # so that no row of weights is empty
        visible = same if visible is None else visible & same
    return None if visible is None else torch.where(visible, 0.0, -math.inf)

"""Attention of long documents on processors, each by itself: blocks of queries, written as matrix products.

Torch's own kernel works at a fraction of the rate at which the processor multiplies bfloat16, most of all backwards.
Queries that share keys are one product here, a causal block never touches the keys behind its end, and the weights are
made anew in the backward pass as in FlashAttention (Dao et al. 2022, arXiv:2205.14135), so that nothing is kept but
queries, keys and values. Rows that are compiled go another way (``nn/blocked.py``).

Axes: N tokens of all documents, H query heads, G key/value heads, E head width, Q queries of a block, K keys that they
may see, R = H / G · Q queries of a block that share keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

BLOCK = 128
"""Queries at once: the scores of a block stay in the processor's cache."""


class Block(NamedTuple):
    """Queries that follow each other, and the keys that they may see."""

    queries: slice
    keys: slice


class DocumentAttention(torch.autograd.Function):
    """``apply(q, k, v, lengths, causal, scale)``, q ``[H, N, E]``, k and v ``[G, N, E]``: ``[H, N, E]``.

    ``lengths`` are the documents' tokens, which add up to N. A token sees those of its document; where ``causal`` the
    earlier ones and itself.
    """

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, lengths: tuple[int, ...], causal: bool, scale: float
    ) -> Tensor:
        out_HNE = q.new_empty(q.shape[1], q.shape[0], q.shape[2]).transpose(0, 1)  # as the next layer reads it
        for block in _blocks(lengths, causal):
            weights_GRK = _weights(_sharing(q, k, block), k, block, causal, scale)
            out_HNE[:, block.queries] = _of_heads(weights_GRK @ v[:, block.keys], q, block)
        ctx.save_for_backward(q, k, v)
        ctx.lengths, ctx.causal, ctx.scale = lengths, causal, scale
        return out_HNE

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v = ctx.saved_tensors
        wide = torch.promote_types(k.dtype, torch.float32)  # of sums over blocks
        grad_q, grad_k, grad_v = torch.empty_like(q), torch.zeros_like(k, dtype=wide), torch.zeros_like(v, dtype=wide)
        for block in _blocks(ctx.lengths, ctx.causal):
            q_GRE, grad_GRE = _sharing(q, k, block), _sharing(grads[0], k, block)
            weights_GRK = _weights(q_GRE, k, block, ctx.causal, ctx.scale)
            grad_v[:, block.keys] += weights_GRK.mT @ grad_GRE
            of_weights_GRK = grad_GRE @ v[:, block.keys].mT
            of_scores_GRK = torch._softmax_backward_data(of_weights_GRK, weights_GRK, -1, weights_GRK.dtype)
            grad_q[:, block.queries] = _of_heads(_product(of_scores_GRK, k[:, block.keys], ctx.scale), q, block)
            grad_k[:, block.keys] += _product(of_scores_GRK.mT, q_GRE, ctx.scale)
        return grad_q, grad_k.to(k.dtype), grad_v.to(v.dtype), None, None, None


def _blocks(lengths: tuple[int, ...], causal: bool) -> Iterator[Block]:
    first = 0
    for length in lengths:
        end = first + length
        for start in range(first, end, BLOCK):
            stop = min(start + BLOCK, end)
            yield Block(slice(start, stop), slice(first, stop if causal else end))
        first = end


def _sharing(x_HNE: Tensor, k_GNE: Tensor, block: Block) -> Tensor:
    """``[G, R, E]``: a block of all heads, those behind each other that share keys."""
    return x_HNE[:, block.queries].reshape(len(k_GNE), -1, x_HNE.shape[2])


def _of_heads(x_GRE: Tensor, q_HNE: Tensor, block: Block) -> Tensor:
    """``[H, Q, E]``: the way back."""
    return x_GRE.view(len(q_HNE), block.queries.stop - block.queries.start, -1)


def _weights(q_GRE: Tensor, k_GNE: Tensor, block: Block, causal: bool, scale: float) -> Tensor:
    """``[G, R, K]``: what a query takes of each key."""
    scores_GRK = _product(q_GRE, k_GNE[:, block.keys].mT, scale)
    if causal:
        queries = block.queries.stop - block.queries.start
        later_QQ = torch.ones(queries, queries, dtype=torch.bool, device=q_GRE.device).triu(1)
        own = scores_GRK.view(len(k_GNE), -1, queries, scores_GRK.shape[2])[..., -queries:]
        own.masked_fill_(later_QQ, -torch.inf)
    return torch.softmax(scores_GRK, -1)


def _product(one: Tensor, other: Tensor, scale: float) -> Tensor:
    """``one @ other * scale``, rounded once."""
    return torch.baddbmm(one.new_empty(1, 1, 1), one, other, beta=0, alpha=scale)

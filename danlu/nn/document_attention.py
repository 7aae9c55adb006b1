"""Attention of long documents on processors, each by itself: blocks of queries, written as matrix products.

Torch's own kernel works at a fraction of the rate at which the processor multiplies bfloat16, most of all backwards.
Queries that share keys are one product here, a causal block never touches the keys behind its end, and the weights are
made anew in the backward pass as in FlashAttention (Dao et al. 2022, arXiv:2205.14135), so that nothing is kept but
queries, keys and values. Rows that are compiled go other ways (``nn/blocked.py``, ``nn/native``), and so do trainings
on processors that ``nn/native`` is for.

Axes: N tokens of all documents, T tokens of one, filled up; H query heads, G key/value heads, E head width, Q queries
of a block, K keys that they may see, R = H / G · Q queries of a block that share keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 128
"""Queries at once: the scores of a block stay in the processor's cache."""
MULTIPLE = 32
"""Documents are filled up to so many tokens: oneDNN makes and keeps a kernel of its own, 0.6 MB, for every size."""


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
        for own in _documents(lengths):
            document = _Document(q, k, v, own, causal, scale)
            for block in document.blocks():
                weights_GRK = document.weights(document.sharing(document.q, block), block)
                document.put(out_HNE, weights_GRK @ document.v[:, block.keys], block)
        ctx.save_for_backward(q, k, v)
        ctx.lengths, ctx.causal, ctx.scale = lengths, causal, scale
        return out_HNE

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v = ctx.saved_tensors
        grad_q, grad_k, grad_v = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        wide = torch.promote_types(k.dtype, torch.float32)  # of sums over blocks
        for own in _documents(ctx.lengths):
            document = _Document(q, k, v, own, ctx.causal, ctx.scale)
            grad_HTE = _filled(grads[0], own)
            grad_k_GTE, grad_v_GTE = (torch.zeros_like(document.k, dtype=wide) for _ in "kv")
            for block in document.blocks():
                q_GRE, grad_GRE = (document.sharing(each, block) for each in (document.q, grad_HTE))
                weights_GRK = document.weights(q_GRE, block)
                grad_v_GTE[:, block.keys] += weights_GRK.mT @ grad_GRE
                of_weights_GRK = grad_GRE @ document.v[:, block.keys].mT
                of_scores_GRK = torch._softmax_backward_data(of_weights_GRK, weights_GRK, -1, weights_GRK.dtype)
                grad_k_GTE[:, block.keys] += _product(of_scores_GRK.mT, q_GRE, ctx.scale)
                document.put(grad_q, _product(of_scores_GRK, document.k[:, block.keys], ctx.scale), block)
            for whole, part in ((grad_k, grad_k_GTE), (grad_v, grad_v_GTE)):
                whole[:, own] = part[:, : own.stop - own.start]
        return grad_q, grad_k, grad_v, None, None, None


class _Document:
    """One of them, filled up with tokens that no other sees."""

    def __init__(self, q: Tensor, k: Tensor, v: Tensor, own: slice, causal: bool, scale: float) -> None:
        self.own, self.causal, self.scale = own, causal, scale
        self.q, self.k, self.v = (_filled(each, own) for each in (q, k, v))

    def blocks(self) -> Iterator[Block]:
        length = self.k.shape[1]
        for start in range(0, length, BLOCK):
            stop = min(start + BLOCK, length)
            yield Block(slice(start, stop), slice(0, stop if self.causal else length))

    def sharing(self, x_HTE: Tensor, block: Block) -> Tensor:
        """``[G, R, E]``: a block of all heads, those behind each other that share keys."""
        return x_HTE[:, block.queries].reshape(len(self.k), -1, x_HTE.shape[2])

    def weights(self, q_GRE: Tensor, block: Block) -> Tensor:
        """``[G, R, K]``: what a query takes of each key."""
        scores_GRK = _product(q_GRE, self.k[:, block.keys].mT, self.scale)
        if self.causal:  # which hides what the document was filled up with too
            queries = block.queries.stop - block.queries.start
            later_QQ = torch.ones(queries, queries, dtype=torch.bool, device=q_GRE.device).triu(1)
            scores_GRQK = scores_GRK.view(len(self.k), -1, queries, scores_GRK.shape[2])
            scores_GRQK[..., -queries:].masked_fill_(later_QQ, -torch.inf)
        else:
            scores_GRK[..., self.own.stop - self.own.start :] = -torch.inf
        return torch.softmax(scores_GRK, -1)

    def put(self, whole_HNE: Tensor, part_GRE: Tensor, block: Block) -> None:
        """Write what a block gives where its tokens stand among those of all documents."""
        start = self.own.start + block.queries.start
        place = slice(start, min(start + BLOCK, self.own.stop))
        part_HQE = part_GRE.view(len(whole_HNE), -1, part_GRE.shape[2])
        whole_HNE[:, place] = part_HQE[:, : place.stop - place.start]


def _documents(lengths: tuple[int, ...]) -> Iterator[slice]:
    for length, end in zip(lengths, accumulate(lengths), strict=True):
        yield slice(end - length, end)


def _filled(x_HNE: Tensor, own: slice) -> Tensor:
    """``[H, T, E]``: a document, with zeros to a multiple of tokens."""
    return F.pad(x_HNE[:, own], (0, 0, 0, (own.start - own.stop) % MULTIPLE))


def _product(one: Tensor, other: Tensor, scale: float) -> Tensor:
    """``one @ other * scale``, rounded once."""
    return torch.baddbmm(one.new_empty(1, 1, 1), one, other, beta=0, alpha=scale)

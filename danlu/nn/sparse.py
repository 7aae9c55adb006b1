"""Attention over the few blocks of keys that a pattern touches: time and memory grow with their number.

Axes: B batch, H heads, T tokens, N blocks of queries that touch few blocks of keys, W blocks that each touches,
M blocks of queries that touch many, C tokens in a block, E head width.
"""

from __future__ import annotations

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.nn.far import Far, far_of
from danlu.nn.patterns import BlockTable, Pattern, block_table

BLOCK = 64
"""Tokens in a block."""
COST = 4
"""A pair of blocks takes about so many times as long here as in the kernels for whole rows
(``benchmarks/attention.py``)."""


@functools.lru_cache(maxsize=32)
def _make_table(pattern: Pattern, length: int, causal: bool, device: torch.device) -> BlockTable:
    with torch.inference_mode(False):  # what is made in inference mode could not be trained with later
        table = block_table(pattern, length=length, block=BLOCK, causal=causal)
        return BlockTable(*(tensor.to(device) for tensor in table))


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _table(pattern: Pattern, length: int, causal: bool, device: torch.device) -> BlockTable:
    """Made once for each length; a constant to the compiler."""
    return _make_table(pattern, length, causal, device)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def touches_few(pattern: Pattern, *, length: int, causal: bool, device: torch.device) -> bool:
    """Whether ``pattern`` leaves out so much of a row of so many tokens that it is cheaper than the whole."""
    blocks = -(-length // BLOCK)
    whole = blocks * (blocks + 1) // 2 if causal else blocks * blocks
    table, far = _parts(pattern, length, causal, device)
    count = table.blocks + (blocks * far.count / BLOCK if far is not None else 0)
    return bool(COST * count <= whole)


def _parts(pattern: Pattern, length: int, causal: bool, device: torch.device) -> tuple[BlockTable, Far | None]:
    """The blocks to multiply and the far keys; no far keys where what is near is most of the row already."""
    far = far_of(pattern, length=length)
    if far is not None:
        table = _table(far.near, length, causal, device)
        if not len(table.many):
            return table, far
    return _table(pattern, length, causal, device), None


def sparse_attention(
    q_BHTE: Tensor,
    k_BHTE: Tensor,
    v_BHTE: Tensor,
    *,
    pattern: Pattern,
    causal: bool,
    scale: float,
    segments: Tensor | None,
) -> Tensor:
    """Softmax attention ``[B, H, T, E]`` where every query sees what ``pattern``, causality and ``segments`` allow.

    Args:
        pattern: one that does not mind places where there are ``segments``: it is laid over the row.
        segments: ``[B, T]`` document numbers, or None.
    """
    assert segments is None or not pattern.by_place, "places are those of a row and not of its documents"
    length = q_BHTE.shape[2]
    table, far = _parts(pattern, length, causal, q_BHTE.device)
    apart = _Apart(q_BHTE, k_BHTE, v_BHTE, far, causal=causal, scale=scale, segments=segments) if far else None
    rest = -length % BLOCK
    q_BHTE, k_BHTE, v_BHTE = (F.pad(x, (0, 0, 0, rest)) for x in (q_BHTE, k_BHTE, v_BHTE))
    if segments is not None:  # a query behind the end is of the last one's document, so that it sees something
        segments = torch.cat([segments, segments[:, -1:].expand(-1, rest)], dim=1)
    q_BHXCE = torch.unflatten(q_BHTE, 2, (-1, BLOCK))
    if not len(table.many):
        out_BHXCE = _of_few(q_BHXCE, k_BHTE, v_BHTE, table, scale=scale, segments=segments, apart=apart)
    else:
        parts = [_of_many(q_BHXCE[:, :, table.many], k_BHTE, v_BHTE, table, scale=scale, segments=segments)]
        if len(table.few):
            parts.append(_of_few(q_BHXCE[:, :, table.few], k_BHTE, v_BHTE, table, scale=scale, segments=segments))
        out_BHXCE = torch.cat(parts, dim=2)[:, :, torch.cat([table.many, table.few]).argsort()]
    return out_BHXCE.flatten(2, 3)[:, :, :length]


class _Apart:
    """The far keys of one call: their scores in blocks of queries, and their share of the result."""

    def __init__(
        self, q: Tensor, k: Tensor, v: Tensor, far: Far, *, causal: bool, scale: float, segments: Tensor | None
    ) -> None:
        self._far, self._v, self._length = far, v, q.shape[2]
        seen = far.seen(causal=causal, segments=segments, device=q.device)
        scores_BHTF = far.scores(q * scale, k).masked_fill(~seen[:, None], -math.inf)
        padded = F.pad(scores_BHTF, (0, 0, 0, -self._length % BLOCK), value=-math.inf)
        self.scores_BHXCF = torch.unflatten(padded, 2, (-1, BLOCK))

    def product(self, weights_BHXCF: Tensor) -> Tensor:
        """``[B, H, X, C, E]``."""
        out = self._far.product(weights_BHXCF.flatten(2, 3)[:, :, : self._length], self._v)
        return torch.unflatten(F.pad(out, (0, 0, 0, -self._length % BLOCK)), 2, (-1, BLOCK))


def _of_few(
    q_BHNCE: Tensor,
    k_BHTE: Tensor,
    v_BHTE: Tensor,
    table: BlockTable,
    *,
    scale: float,
    segments: Tensor | None,
    apart: _Apart | None = None,
) -> Tensor:
    """Each block of queries against the blocks of keys that it touches, laid side by side, and against far keys."""
    k, v = (
        torch.unflatten(x, 2, (-1, BLOCK))[:, :, table.keys].flatten(3, 4) for x in (k_BHTE, v_BHTE)
    )  # [B, H, N, W C, E]
    seen = table.seen.transpose(1, 2).flatten(2)[None]  # [1, N, C, W C]
    if segments is not None:
        blocks = torch.unflatten(segments, 1, (-1, BLOCK))
        seen = seen & (blocks[:, table.few][:, :, :, None] == blocks[:, table.keys].flatten(2)[:, :, None, :])
    scores = (q_BHNCE * scale @ k.mT).masked_fill(~seen[:, None], -math.inf)
    wide = torch.promote_types(scores.dtype, torch.float32)
    near = scores.shape[-1]
    if apart is not None:
        scores = torch.cat([scores, apart.scores_BHXCF], dim=-1)
    weights = torch.softmax(scores, dim=-1, dtype=wide).to(v.dtype)
    out = weights[..., :near] @ v
    return out if apart is None else out + apart.product(weights[..., near:])


def _of_many(
    q_BHMCE: Tensor, k_BHTE: Tensor, v_BHTE: Tensor, table: BlockTable, *, scale: float, segments: Tensor | None
) -> Tensor:
    """Blocks of queries against all keys."""
    seen = table.seen_by_many.flatten(0, 1)[None]  # [1, M C, T]
    if segments is not None:
        of_queries = torch.unflatten(segments, 1, (-1, BLOCK))[:, table.many].flatten(1)
        seen = seen & (of_queries[:, :, None] == segments[:, None, :])
    out = F.scaled_dot_product_attention(q_BHMCE.flatten(2, 3), k_BHTE, v_BHTE, attn_mask=seen[:, None], scale=scale)
    return torch.unflatten(out, 2, (-1, BLOCK))

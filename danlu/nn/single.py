"""Attention of a single query, written as sums for ``torch.compile`` to fuse: what writes a token after the other.

A product of matrices pays nothing where one side is a single row: keys and values are read once, as fast as memory
gives them, and added up in float32.

Axes: B batch, H query heads, G key/value heads, R query heads of one key/value head, S keys, E head width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def single_query(q_BH1E: Tensor, k_BGSE: Tensor, v_BGSE: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """``[B, H, 1, E]``; ``mask`` ``[1 or B, 1 or H, 1, S]`` as ``scaled_dot_product_attention`` takes it."""
    batch, heads, _, width = q_BH1E.shape
    groups = k_BGSE.shape[1]
    q_BGR1E = q_BH1E.view(batch, groups, heads // groups, 1, width).float()
    score_BHS = (q_BGR1E * k_BGSE[:, :, None].float()).sum(-1).view(batch, heads, -1) * scale
    if mask is not None:
        added = torch.where(mask, 0.0, -math.inf) if mask.dtype == torch.bool else mask
        score_BHS = score_BHS + added[:, :, 0]
    weight_BGRS1 = score_BHS.softmax(-1).view(batch, groups, heads // groups, -1, 1)
    return (weight_BGRS1 * v_BGSE[:, :, None].float()).sum(-2).view_as(q_BH1E).type_as(v_BGSE)

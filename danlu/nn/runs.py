"""Attention of many short documents in one long row: each run of equally long ones is a batch of its own.

What stands between, the norms and the products with weights, sees one long row without any padding; a document's
attention costs what it costs alone. So rows are packed as for FlashAttention's variable lengths (Dao et al. 2022,
arXiv:2205.14135).

Axes: N tokens, C documents of a run, H heads, T tokens of a document, E head width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

SHORT = 128
"""Tokens of the longest document whose scores are written out: kernels made for long rows take longer."""


class Run(NamedTuple):
    """Documents of one length, one behind the other."""

    start: int
    documents: int
    length: int

    @property
    def end(self) -> int:
        return self.start + self.documents * self.length


def find_runs(segments_1N: Tensor) -> tuple[Run, ...] | None:
    """The runs of a row by its document numbers; None where a number comes again, or they would save nothing."""
    numbers, counts = torch.unique_consecutive(segments_1N[0], return_counts=True)
    lengths: list[int] = counts.tolist()
    total = sum(lengths)
    if len(numbers.unique()) < len(lengths) or 2 * sum(length * length for length in lengths) > total * total:
        return None
    runs: list[Run] = []
    for length in lengths:
        if runs and runs[-1].length == length:
            runs[-1] = runs[-1]._replace(documents=runs[-1].documents + 1)
        else:
            runs.append(Run(runs[-1].end if runs else 0, 1, length))
    return tuple(runs)


def attend_in_runs(
    q_1HNE: Tensor,
    k_1HNE: Tensor,
    v_1HNE: Tensor,
    runs: tuple[Run, ...],
    *,
    causal: bool,
    scale: float,
    dropout: float = 0.0,
) -> Tensor:
    """``[1, H, N, E]``: each document by itself."""
    outs = []
    for run in runs:
        q, k, v = (_documents(part_1HNE, run) for part_1HNE in (q_1HNE, k_1HNE, v_1HNE))
        if run.length > SHORT:
            out_CHTE = F.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=scale, dropout_p=dropout)
        else:
            out_CHTE = _short(q, k, v, causal=causal, scale=scale, dropout=dropout)
        outs.append(out_CHTE.transpose(0, 1).flatten(1, 2))
    return torch.cat(outs, 1)[None]


def _documents(x_1HNE: Tensor, run: Run) -> Tensor:
    """``[C, H, T, E]``."""
    heads, _, width = x_1HNE.shape[1:]
    return x_1HNE[0, :, run.start : run.end].view(heads, run.documents, run.length, width).transpose(0, 1)


def _short(q_CHTE: Tensor, k_CHTE: Tensor, v_CHTE: Tensor, *, causal: bool, scale: float, dropout: float) -> Tensor:
    wide = torch.promote_types(q_CHTE.dtype, torch.float32)
    scores_CHTT = (q_CHTE @ k_CHTE.mT).to(wide) * scale
    if causal:
        length = q_CHTE.shape[2]
        later = torch.ones(length, length, dtype=torch.bool, device=q_CHTE.device).triu(1)
        scores_CHTT = scores_CHTT.masked_fill(later, -torch.inf)
    # Written out, for torch's own softmax takes three times as long where rows are so short.
    weights_CHTT = (scores_CHTT - scores_CHTT.amax(-1, keepdim=True)).exp_()
    weights_CHTT = weights_CHTT / weights_CHTT.sum(-1, keepdim=True)
    weights_CHTT = weights_CHTT.to(v_CHTE.dtype)
    return (F.dropout(weights_CHTT, dropout) if dropout else weights_CHTT) @ v_CHTE

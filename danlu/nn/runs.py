"""Attention of many short documents in one long row: those of like length are a batch of their own.

What stands between, the norms and the products with weights, sees one long row without any padding; a document's
attention costs hardly more than what it costs alone. So rows are packed as for FlashAttention's variable lengths (Dao
et al. 2022, arXiv:2205.14135).

Axes: N tokens, C documents of a run, H heads, T tokens of its longest document, E head width.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.nn.document_attention import DocumentAttention

SHORT = 128
"""Tokens of the longest document whose scores are written out: kernels made for long rows take longer."""
WASTE = 0.3
"""Share of the scores of a run that may be of padding: more, smaller runs would take longer."""
FEW = 4096
"""Scores of a head below which a run is so small that its padding does not matter."""


class Places(NamedTuple):
    """How a run is filled up, and back."""

    places_CT: Tensor
    """Which token of the run stands there; the first for padding."""
    real_CT: Tensor
    """Whether it is no padding."""
    back_N: Tensor
    """Where the tokens of the run are in the flattened ``[C, T]``."""


@dataclass(frozen=True)
class Run:
    """Documents of like length, one behind the other."""

    start: int
    lengths: tuple[int, ...]
    """Of the documents, in their order."""
    _places: dict[torch.device, Places] = field(default_factory=dict, repr=False, compare=False)

    @property
    def end(self) -> int:
        return self.start + sum(self.lengths)

    @property
    def longest(self) -> int:
        return max(self.lengths)

    @property
    def alike(self) -> bool:
        """Whether all are equally long."""
        return min(self.lengths) == self.longest

    def places(self, device: torch.device) -> Places:
        """Where its tokens stand when all documents are filled up to the longest."""
        if device not in self._places:
            lengths_C1 = torch.tensor(self.lengths, device=device)[:, None]
            within_1T = torch.arange(self.longest, device=device)[None]
            real_CT = within_1T < lengths_C1
            starts_C1 = lengths_C1.cumsum(0) - lengths_C1
            back_N = real_CT.flatten().nonzero().flatten()
            self._places[device] = Places((starts_C1 + within_1T) * real_CT, real_CT, back_N)
        return self._places[device]


def find_runs(segments_1N: Tensor) -> tuple[Run, ...] | None:
    """The runs of a row by its document numbers; None where a number comes again."""
    numbers, counts = torch.unique_consecutive(segments_1N[0], return_counts=True)
    lengths: list[int] = counts.tolist()
    if len(numbers.unique()) < len(lengths):
        return None
    runs: list[Run] = []
    start, own = 0, [lengths[0]]
    for length in lengths[1:]:
        if _together([*own, length]):
            own.append(length)
        else:
            runs.append(Run(start, tuple(own)))
            start, own = runs[-1].end, [length]
    return (*runs, Run(start, tuple(own)))


def _together(lengths: list[int]) -> bool:
    """Whether documents may be one run: little of it would be padding."""
    scores = len(lengths) * max(lengths) ** 2
    return scores <= FEW or scores - sum(length * length for length in lengths) <= WASTE * scores


def attend_in_runs(
    q_1HNE: Tensor,
    k_1GNE: Tensor,
    v_1GNE: Tensor,
    runs: tuple[Run, ...],
    *,
    causal: bool,
    scale: float,
    dropout: float = 0.0,
) -> Tensor:
    """``[1, H, N, E]``: each document by itself; where there are fewer keys than queries, heads share them."""
    by_blocks = q_1HNE.device.type == "cpu" and not dropout
    outs = []
    for run in runs:
        if run.longest > SHORT and by_blocks:
            q, k, v = (part[0, :, run.start : run.end] for part in (q_1HNE, k_1GNE, v_1GNE))
            outs.append(DocumentAttention.apply(q, k, v, run.lengths, causal, scale))  # type: ignore[no-untyped-call]
            continue
        q, k, v = (_documents(part, run) for part in (q_1HNE, k_1GNE, v_1GNE))
        k, v = as_many_heads(q, k, v)
        real_CT = None if run.alike else run.places(q.device).real_CT
        attend = _long if run.longest > SHORT else _short
        out_CHTE = attend(q, k, v, real_CT, causal=causal, scale=scale, dropout=dropout)
        out_HNE = out_CHTE.transpose(0, 1).flatten(1, 2)
        outs.append(out_HNE if run.alike else out_HNE.index_select(1, run.places(q.device).back_N))
    return (outs[0] if len(outs) == 1 else torch.cat(outs, 1))[None]


def as_many_heads(q_BHTE: Tensor, k_BGSE: Tensor, v_BGSE: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values ``[B, H, S, E]``, each as often as heads share it."""
    repeats = q_BHTE.shape[1] // k_BGSE.shape[1]
    if repeats == 1:
        return k_BGSE, v_BGSE
    return k_BGSE.repeat_interleave(repeats, 1), v_BGSE.repeat_interleave(repeats, 1)


def _documents(x_1HNE: Tensor, run: Run) -> Tensor:
    """``[C, H, T, E]``."""
    own_HNE = x_1HNE[0, :, run.start : run.end]
    if run.alike:
        heads, _, width = own_HNE.shape
        return own_HNE.view(heads, len(run.lengths), run.longest, width).transpose(0, 1)
    padded = own_HNE.index_select(1, run.places(x_1HNE.device).places_CT.flatten())
    return padded.view(len(padded), len(run.lengths), run.longest, -1).transpose(0, 1)


def _seen(real_CT: Tensor | None, length: int, device: torch.device, *, causal: bool) -> Tensor | None:
    """``[C or 1, 1, T or 1, T]`` booleans: which keys a query sees; None where it sees all."""
    earlier = torch.ones(length, length, dtype=torch.bool, device=device).tril()[None, None] if causal else None
    if real_CT is None:
        return earlier
    of_keys = real_CT[:, None, None]
    return of_keys if earlier is None else of_keys & earlier


def _long(
    q_CHTE: Tensor,
    k_CHTE: Tensor,
    v_CHTE: Tensor,
    real_CT: Tensor | None,
    *,
    causal: bool,
    scale: float,
    dropout: float,
) -> Tensor:
    mask = None if real_CT is None else _seen(real_CT, q_CHTE.shape[2], q_CHTE.device, causal=causal)
    return F.scaled_dot_product_attention(
        q_CHTE, k_CHTE, v_CHTE, attn_mask=mask, is_causal=causal and mask is None, scale=scale, dropout_p=dropout
    )


def _short(
    q_CHTE: Tensor,
    k_CHTE: Tensor,
    v_CHTE: Tensor,
    real_CT: Tensor | None,
    *,
    causal: bool,
    scale: float,
    dropout: float,
) -> Tensor:
    wide = torch.promote_types(q_CHTE.dtype, torch.float32)
    scores_CHTT = (q_CHTE @ k_CHTE.mT).to(wide) * scale
    seen = _seen(real_CT, q_CHTE.shape[2], q_CHTE.device, causal=causal)
    if seen is not None:
        scores_CHTT = scores_CHTT.masked_fill(~seen, -torch.inf)
    # Written out, for torch's own softmax takes three times as long where rows are so short.
    weights_CHTT = (scores_CHTT - scores_CHTT.amax(-1, keepdim=True).detach()).exp_()
    weights_CHTT = weights_CHTT / weights_CHTT.sum(-1, keepdim=True)
    weights_CHTT = weights_CHTT.to(v_CHTE.dtype)
    return (F.dropout(weights_CHTT, dropout) if dropout else weights_CHTT) @ v_CHTE

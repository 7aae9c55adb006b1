"""Attention of many short documents in one long row: those of like length are a batch of their own.

What stands between, the norms and the products with weights, sees one long row without any padding; a document's
attention costs hardly more than what it costs alone. So rows are packed as for FlashAttention's variable lengths (Dao
et al. 2022, arXiv:2205.14135).

Axes: N tokens, C documents of a run, H heads, T tokens of its longest document, E head width.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.nn.document_attention import DocumentAttention
from danlu.nn.dropout import dropout as drop

SHORT = 128
"""Tokens of the longest document whose scores are kept: kernels made for long rows, which keep none, take longer."""
WASTE = 0.3
"""Share of the scores of a run that may be of padding: more, smaller runs would take longer."""
FEW = 4096
"""Scores of a head below which a run is so small that its padding does not matter."""
ALONE = 256
"""Tokens from which on equally long documents are a run of their own: filling them up would take longer."""
VECTOR = 16
"""Numbers of a row from which on torch's softmax is the fastest; the exponentials of shorter ones are written out."""


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
    lengths = counts.cpu().numpy()
    if len(numbers.unique()) < len(lengths):
        return None
    drafts: list[_Draft] = []
    for alike in np.split(lengths, np.flatnonzero(np.diff(lengths)) + 1):
        length, count = int(alike[0]), len(alike)
        if not drafts or drafts[-1].closed or length * count >= ALONE:
            drafts.append(_Draft(closed=length * count >= ALONE))
            drafts[-1].add(length, count)
            continue
        for _ in range(count):
            if not drafts[-1].has_room(length):
                drafts.append(_Draft())
            drafts[-1].add(length)
    starts = np.cumsum([0, *(sum(draft.lengths) for draft in drafts)]).tolist()
    return tuple(Run(start, tuple(draft.lengths)) for start, draft in zip(starts, drafts, strict=False))


@dataclass
class _Draft:
    """A run while documents are added to it."""

    lengths: list[int] = field(default_factory=list)
    scores: int = 0
    """Of a head, padding not counted."""
    longest: int = 0
    closed: bool = False
    """Whether it takes no more."""

    def add(self, length: int, count: int = 1) -> None:
        self.lengths += [length] * count
        self.scores += count * length * length
        self.longest = max(self.longest, length)

    def has_room(self, length: int) -> bool:
        """Whether little of it would be padding with one more."""
        scores = (len(self.lengths) + 1) * max(self.longest, length) ** 2
        return scores <= FEW or scores - self.scores - length * length <= WASTE * scores


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
    outs_NHE = []
    for run in runs:
        if run.longest > SHORT and by_blocks:
            q, k, v = (part[0, :, run.start : run.end] for part in (q_1HNE, k_1GNE, v_1GNE))
            out_HNE: Tensor = DocumentAttention.apply(q, k, v, run.lengths, causal, scale)  # type: ignore[no-untyped-call]
            outs_NHE.append(out_HNE.transpose(0, 1))
            continue
        q, k, v = (_documents(part, run) for part in (q_1HNE, k_1GNE, v_1GNE))
        k, v = as_many_heads(q, k, v)
        attend = _long if run.longest > SHORT else _short
        out_NHE = attend(q, k, v, run, causal=causal, scale=scale, dropout=dropout).transpose(1, 2).flatten(0, 1)
        outs_NHE.append(out_NHE if run.alike else out_NHE.index_select(0, run.places(q.device).back_N))
    return (outs_NHE[0] if len(outs_NHE) == 1 else torch.cat(outs_NHE))[None].transpose(1, 2)


def attend_once(
    q_1HCE: Tensor, k_1GNE: Tensor, v_1GNE: Tensor, runs: tuple[Run, ...], *, scale: float, dropout: float = 0.0
) -> Tensor:
    """``[1, H, C, E]``: one query of each document, in their order, which sees all of its document."""
    outs_CHE, first = [], 0
    for run in runs:
        q_CHE1 = q_1HCE[0, :, first : first + len(run.lengths)].transpose(0, 1)[..., None]
        first += len(run.lengths)
        k_CHTE, v_CHTE = as_many_heads(q_CHE1, _documents(k_1GNE, run), _documents(v_1GNE, run))
        wide = torch.promote_types(q_CHE1.dtype, torch.float32)
        scores_CHT = (k_CHTE @ q_CHE1)[..., 0].to(wide) * scale
        if not run.alike:
            scores_CHT = scores_CHT.masked_fill(~run.places(q_1HCE.device).real_CT[:, None], -torch.inf)
        weights_CHT = drop(scores_CHT.softmax(-1).to(v_CHTE.dtype), dropout)
        outs_CHE.append((weights_CHT[:, :, None] @ v_CHTE)[:, :, 0])
    return torch.cat(outs_CHE)[None].transpose(1, 2)


def as_many_heads(q_BHTE: Tensor, k_BGSE: Tensor, v_BGSE: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values ``[B, H, S, E]``, each as often as heads share it."""
    repeats = q_BHTE.shape[1] // k_BGSE.shape[1]
    if repeats == 1:
        return k_BGSE, v_BGSE
    return k_BGSE.repeat_interleave(repeats, 1), v_BGSE.repeat_interleave(repeats, 1)


def _documents(x_1HNE: Tensor, run: Run) -> Tensor:
    """``[C, H, T, E]``."""
    own_NHE = x_1HNE[0].transpose(0, 1)[run.start : run.end]
    if not run.alike:
        own_NHE = own_NHE.index_select(0, run.places(x_1HNE.device).places_CT.flatten())
    return own_NHE.view(len(run.lengths), run.longest, *own_NHE.shape[1:]).transpose(1, 2)


def _seen(run: Run, device: torch.device, *, causal: bool) -> Tensor | None:
    """``[C or 1, 1, T or 1, T]`` booleans: which keys a query sees; None where it sees all."""
    length = run.longest
    earlier = torch.ones(length, length, dtype=torch.bool, device=device).tril()[None, None] if causal else None
    if run.alike:
        return earlier
    of_keys = run.places(device).real_CT[:, None, None]
    return of_keys if earlier is None else of_keys & earlier


def _long(
    q_CHTE: Tensor, k_CHTE: Tensor, v_CHTE: Tensor, run: Run, *, causal: bool, scale: float, dropout: float
) -> Tensor:
    alone = causal and run.alike  # causality is all there is
    seen = None if alone else _seen(run, q_CHTE.device, causal=causal)
    return F.scaled_dot_product_attention(
        q_CHTE, k_CHTE, v_CHTE, attn_mask=seen, is_causal=alone, scale=scale, dropout_p=dropout
    )


def _short(
    q_CHTE: Tensor, k_CHTE: Tensor, v_CHTE: Tensor, run: Run, *, causal: bool, scale: float, dropout: float
) -> Tensor:
    documents, heads, length, width = q_CHTE.shape
    q, k, v = (part.flatten(0, 1) for part in (q_CHTE, k_CHTE, v_CHTE))  # not as `@` copies keys: axes swapped, slowly
    wide = torch.promote_types(q.dtype, torch.float32)
    scores_CHTT = (torch.bmm(q, k.mT).to(wide) * scale).view(documents, heads, length, length)
    seen = _seen(run, q.device, causal=causal)
    if seen is not None:
        scores_CHTT = scores_CHTT.masked_fill(~seen, -torch.inf)
    weights_CHTT = (scores_CHTT.softmax(-1) if length >= VECTOR else _softmax(scores_CHTT)).to(v.dtype)
    weights = drop(weights_CHTT, dropout).flatten(0, 1)
    return torch.bmm(weights, v).view(documents, heads, length, width)


def _softmax(scores_CHTT: Tensor) -> Tensor:
    weights_CHTT = (scores_CHTT - scores_CHTT.amax(-1, keepdim=True).detach()).exp_()
    return weights_CHTT / weights_CHTT.sum(-1, keepdim=True)

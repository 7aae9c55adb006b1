"""Attention of many short documents in one long row: those of like length are a batch of their own (``nn/runs.py``).

What stands between, the norms and the products with weights, sees one long row without any padding; a document's
attention costs hardly more than what it costs alone. So rows are packed as for FlashAttention's variable lengths (Dao
et al. 2022, arXiv:2205.14135).

Axes: N tokens, M of the keys where they are others, C documents of a run, H heads, T tokens of the longest document, S
of its keys, E head width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.nn.document_attention import DocumentAttention
from danlu.nn.dropout import dropout as drop
from danlu.nn.runs import Pair, Run

SHORT = 128
"""Tokens of the longest document whose scores are kept: kernels made for long rows, which keep none, take longer."""
VECTOR = 16
"""Numbers of a row from which on torch's softmax is the fastest; the exponentials of shorter ones are written out."""


class Scoring(NamedTuple):
    """How queries and keys become weights."""

    causal: bool
    scale: float
    dropout: float = 0.0
    bias: Tensor | None = None
    """``[1, H, T, T]``, added to the scores of the first T places of a document, which has no more."""


def attend_in_runs(q_1HNE: Tensor, k_1GNE: Tensor, v_1GNE: Tensor, runs: tuple[Run, ...], scoring: Scoring) -> Tensor:
    """``[1, H, N, E]``: each document by itself; where there are fewer keys than queries, heads share them."""
    by_blocks = q_1HNE.device.type == "cpu" and not scoring.dropout and scoring.bias is None
    outs_NHE = []
    for run in runs:
        if run.longest > SHORT and by_blocks:
            q, k, v = (part[0, :, run.start : run.end] for part in (q_1HNE, k_1GNE, v_1GNE))
            out_HNE: Tensor = DocumentAttention.apply(  # type: ignore[no-untyped-call]
                q, k, v, run.lengths, scoring.causal, scoring.scale
            )
            outs_NHE.append(out_HNE.transpose(0, 1))
        else:
            outs_NHE.append(_attend(q_1HNE, k_1GNE, v_1GNE, Pair(run, run), scoring))
    return (outs_NHE[0] if len(outs_NHE) == 1 else torch.cat(outs_NHE))[None].transpose(1, 2)


def attend_across(q_1HNE: Tensor, k_1GME: Tensor, v_1GME: Tensor, pairs: tuple[Pair, ...], scoring: Scoring) -> Tensor:
    """``[1, H, N, E]``: each document sees its own keys, all of them."""
    outs_NHE = [_attend(q_1HNE, k_1GME, v_1GME, pair, scoring) for pair in pairs]
    return torch.cat(outs_NHE)[None].transpose(1, 2)


def _attend(q_1HNE: Tensor, k_1GME: Tensor, v_1GME: Tensor, pair: Pair, scoring: Scoring) -> Tensor:
    """``[N of the run, H, E]``."""
    run, keys = pair
    q_CHTE = _documents(q_1HNE, run)
    k_CHSE, v_CHSE = as_many_heads(q_CHTE, _documents(k_1GME, keys), _documents(v_1GME, keys))
    if scoring.bias is not None:
        scoring = scoring._replace(bias=scoring.bias[:, :, : run.longest, : keys.longest])
    attend = _long if max(run.longest, keys.longest) > SHORT else _short
    out_NHE = attend(q_CHTE, k_CHSE, v_CHSE, keys, scoring).transpose(1, 2).flatten(0, 1)
    return out_NHE if run.alike else out_NHE.index_select(0, run.places(q_CHTE.device).back_N)


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


def _seen(keys: Run, device: torch.device, *, causal: bool) -> Tensor | None:
    """``[C or 1, 1, T or 1, S]`` booleans: which keys a query sees; None where it sees all."""
    length = keys.longest
    earlier = torch.ones(length, length, dtype=torch.bool, device=device).tril()[None, None] if causal else None
    if keys.alike:
        return earlier
    of_keys = keys.places(device).real_CT[:, None, None]
    return of_keys if earlier is None else of_keys & earlier


def _long(q_CHTE: Tensor, k_CHSE: Tensor, v_CHSE: Tensor, keys: Run, scoring: Scoring) -> Tensor:
    alone = scoring.causal and keys.alike and scoring.bias is None  # causality is all there is
    mask = None if alone else _seen(keys, q_CHTE.device, causal=scoring.causal)
    if scoring.bias is not None:
        mask = scoring.bias if mask is None else scoring.bias.masked_fill(~mask, -torch.inf)
    return F.scaled_dot_product_attention(
        q_CHTE, k_CHSE, v_CHSE, attn_mask=mask, is_causal=alone, scale=scoring.scale, dropout_p=scoring.dropout
    )


def _short(q_CHTE: Tensor, k_CHSE: Tensor, v_CHSE: Tensor, keys: Run, scoring: Scoring) -> Tensor:
    documents, heads, length, width = q_CHTE.shape
    q, k, v = (part.flatten(0, 1) for part in (q_CHTE, k_CHSE, v_CHSE))  # not as `@` copies keys: axes swapped, slowly
    wide = torch.promote_types(q.dtype, torch.float32)
    scores_CHTS = (torch.bmm(q, k.mT).to(wide) * scoring.scale).view(documents, heads, length, keys.longest)
    if scoring.bias is not None:
        scores_CHTS = scores_CHTS + scoring.bias
    seen = _seen(keys, q.device, causal=scoring.causal)
    if seen is not None:
        scores_CHTS = scores_CHTS.masked_fill(~seen, -torch.inf)
    weights_CHTS = (scores_CHTS.softmax(-1) if keys.longest >= VECTOR else _softmax(scores_CHTS)).to(v.dtype)
    weights = drop(weights_CHTS, scoring.dropout).flatten(0, 1)
    return torch.bmm(weights, v).view(documents, heads, length, width)


def _softmax(scores_CHTT: Tensor) -> Tensor:
    weights_CHTT = (scores_CHTT - scores_CHTT.amax(-1, keepdim=True).detach()).exp_()
    return weights_CHTT / weights_CHTT.sum(-1, keepdim=True)

"""Attention of many short documents in one long row: those of like length are a batch of their own.

What stands between, the norms and the products with weights, sees one long row without any padding; a document's
attention costs hardly more than what it costs alone. So rows are packed as for FlashAttention's variable lengths (Dao
et al. 2022, arXiv:2205.14135).

Axes: N tokens of queries, M of keys, C documents of a run, H heads, T queries and S keys of the longest one, E head
width.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

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


class Scoring(NamedTuple):
    """How queries and keys become weights."""

    causal: bool
    scale: float
    dropout: float = 0.0
    bias: Tensor | None = None
    """``[1, H, T, T]``, added to the scores of the first T places of a document, which has no more."""

    def seen(self, keys: Run, device: torch.device) -> Tensor | None:
        """``[C or 1, 1, T or 1, S]`` booleans: which keys of a run a query sees; None where it sees all."""
        length, earlier = keys.longest, None
        if self.causal:
            earlier = torch.ones(length, length, dtype=torch.bool, device=device).tril()[None, None]
        if keys.alike:
            return earlier
        of_keys = keys.places(device).real_CT[:, None, None]
        return of_keys if earlier is None else of_keys & earlier


class Pair(NamedTuple):
    """A run of queries, and that of the same documents' keys: the same one where a text attends to itself."""

    queries: Run
    keys: Run


def find_runs(of_queries_1N: Tensor, of_keys_1M: Tensor) -> tuple[Pair, ...] | None:
    """The runs of a row by the document numbers of its queries and of its keys, which may be the same tensor.

    None where a number comes again, where the two sides have other documents, or where runs would save nothing.
    """
    numbers, lengths = _documents_of(of_queries_1N)
    others, key_lengths = (numbers, lengths) if of_keys_1M is of_queries_1N else _documents_of(of_keys_1M)
    if len(set(numbers)) < len(numbers) or numbers != others:
        return None
    sizes = [*zip(lengths, key_lengths, strict=True)]
    if 2 * sum(queries * keys for queries, keys in sizes) > sum(lengths) * sum(key_lengths):
        return None
    parts = [sizes[:1]]
    for size in sizes[1:]:
        if _together([*parts[-1], size]):
            parts[-1].append(size)
        else:
            parts.append([size])
    runs: list[Pair] = []
    start, start_of_keys = 0, 0
    for part in parts:
        queries = Run(start, tuple(length for length, _ in part))
        keys = queries if others is numbers else Run(start_of_keys, tuple(length for _, length in part))
        runs.append(Pair(queries, keys))
        start, start_of_keys = queries.end, keys.end
    return tuple(runs)


def _documents_of(segments_1N: Tensor) -> tuple[list[int], list[int]]:
    """Their numbers and their lengths, in order."""
    numbers, counts = torch.unique_consecutive(segments_1N[0], return_counts=True)
    return numbers.tolist(), counts.tolist()


def _together(sizes: list[tuple[int, int]]) -> bool:
    """Whether documents, of so many queries and keys, may be one run: little of it would be padding."""
    scores = len(sizes) * max(queries for queries, _ in sizes) * max(keys for _, keys in sizes)
    return scores <= FEW or scores - sum(queries * keys for queries, keys in sizes) <= WASTE * scores


def attend_in_runs(q_1HNE: Tensor, k_1HME: Tensor, v_1HME: Tensor, runs: tuple[Pair, ...], scoring: Scoring) -> Tensor:
    """``[1, H, N, E]``: each document by itself."""
    outs = []
    for queries, keys in runs:
        q_CHTE, k_CHSE, v_CHSE = _documents(q_1HNE, queries), _documents(k_1HME, keys), _documents(v_1HME, keys)
        own = scoring
        if scoring.bias is not None:
            own = scoring._replace(bias=scoring.bias[:, :, : queries.longest, : keys.longest])
        attend = _long if max(queries.longest, keys.longest) > SHORT else _short
        out_CHTE = attend(q_CHTE, k_CHSE, v_CHSE, own.seen(keys, q_1HNE.device), own)
        out_HNE = out_CHTE.transpose(0, 1).flatten(1, 2)
        outs.append(out_HNE if queries.alike else out_HNE.index_select(1, queries.places(q_1HNE.device).back_N))
    return torch.cat(outs, 1)[None]


def _documents(x_1HNE: Tensor, run: Run) -> Tensor:
    """``[C, H, T, E]``."""
    own_HNE = x_1HNE[0, :, run.start : run.end]
    if run.alike:
        heads, _, width = own_HNE.shape
        return own_HNE.view(heads, len(run.lengths), run.longest, width).transpose(0, 1)
    padded = own_HNE.index_select(1, run.places(x_1HNE.device).places_CT.flatten())
    return padded.view(len(padded), len(run.lengths), run.longest, -1).transpose(0, 1)


def _long(q_CHTE: Tensor, k_CHSE: Tensor, v_CHSE: Tensor, seen: Tensor | None, scoring: Scoring) -> Tensor:
    triangle = scoring.causal and scoring.bias is None and seen is not None and len(seen) == 1  # which kernels know
    mask = None if triangle else seen
    if scoring.bias is not None:
        mask = scoring.bias if seen is None else scoring.bias.masked_fill(~seen, -torch.inf)
    return F.scaled_dot_product_attention(
        q_CHTE, k_CHSE, v_CHSE, attn_mask=mask, is_causal=triangle, scale=scoring.scale, dropout_p=scoring.dropout
    )


def _short(q_CHTE: Tensor, k_CHSE: Tensor, v_CHSE: Tensor, seen: Tensor | None, scoring: Scoring) -> Tensor:
    wide = torch.promote_types(q_CHTE.dtype, torch.float32)
    scores_CHTS = (q_CHTE @ k_CHSE.mT).to(wide) * scoring.scale
    if scoring.bias is not None:
        scores_CHTS = scores_CHTS + scoring.bias
    if seen is not None:
        scores_CHTS = scores_CHTS.masked_fill(~seen, -torch.inf)
    # Written out, for torch's own softmax takes three times as long where rows are so short.
    weights_CHTS = (scores_CHTS - scores_CHTS.amax(-1, keepdim=True).detach()).exp_()
    weights_CHTS = weights_CHTS / weights_CHTS.sum(-1, keepdim=True)
    weights_CHTS = weights_CHTS.to(v_CHSE.dtype)
    return (F.dropout(weights_CHTS, scoring.dropout) if scoring.dropout else weights_CHTS) @ v_CHSE

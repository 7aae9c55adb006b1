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

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

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

Ints = NDArray[np.int64]
Size = tuple[int, int]
"""Queries and keys of a document."""


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


class Pair(NamedTuple):
    """A run of queries, and that of the same documents' keys: the same one where a text attends to itself."""

    queries: Run
    keys: Run


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


def find_runs(of_queries_1N: Tensor, of_keys_1M: Tensor) -> tuple[Pair, ...] | None:
    """The runs of a row by the document numbers of its queries and of its keys, which may be the same tensor.

    None where a number comes again, where the two sides have other documents, or where runs would save nothing.
    """
    numbers_C, queries_C = _documents_of(of_queries_1N)
    itself = of_keys_1M is of_queries_1N
    others_C, keys_C = (numbers_C, queries_C) if itself else _documents_of(of_keys_1M)
    if len(np.unique(numbers_C)) < len(numbers_C) or not np.array_equal(numbers_C, others_C):
        return None
    if 2 * int((queries_C * keys_C).sum()) > int(queries_C.sum()) * int(keys_C.sum()):
        return None
    runs: list[Pair] = []
    start, start_of_keys = 0, 0
    for draft in _drafts(np.stack([queries_C, keys_C], 1)):
        queries = Run(start, tuple(length for length, _ in draft.sizes))
        keys = queries if itself else Run(start_of_keys, tuple(length for _, length in draft.sizes))
        runs.append(Pair(queries, keys))
        start, start_of_keys = queries.end, keys.end
    return tuple(runs)


def _documents_of(segments_1N: Tensor) -> tuple[Ints, Ints]:
    """The numbers of the documents, and how many tokens they have, in order."""
    numbers, counts = torch.unique_consecutive(segments_1N[0], return_counts=True)
    return numbers.cpu().numpy(), counts.cpu().numpy()


def _drafts(sizes_C2: Ints) -> list[_Draft]:
    """The documents in runs."""
    drafts: list[_Draft] = []
    for alike in np.split(sizes_C2, np.flatnonzero(np.diff(sizes_C2, axis=0).any(1)) + 1):
        size, count = (int(alike[0, 0]), int(alike[0, 1])), len(alike)
        if not drafts or drafts[-1].closed or size[0] * count >= ALONE:
            drafts.append(_Draft(closed=size[0] * count >= ALONE))
            drafts[-1].add(size, count)
            continue
        for _ in range(count):
            if not drafts[-1].has_room(size):
                drafts.append(_Draft())
            drafts[-1].add(size)
    return drafts


@dataclass
class _Draft:
    """A run while documents are added to it."""

    sizes: list[Size] = field(default_factory=list)
    scores: int = 0
    """Of a head, padding not counted."""
    longest: Size = (0, 0)
    closed: bool = False
    """Whether it takes no more."""

    def add(self, size: Size, count: int = 1) -> None:
        self.sizes += [size] * count
        self.scores += count * size[0] * size[1]
        self.longest = self._longest_with(size)

    def has_room(self, size: Size) -> bool:
        """Whether little of it would be padding with one more."""
        queries, keys = self._longest_with(size)
        scores = (len(self.sizes) + 1) * queries * keys
        return scores <= FEW or scores - self.scores - size[0] * size[1] <= WASTE * scores

    def _longest_with(self, size: Size) -> Size:
        return max(self.longest[0], size[0]), max(self.longest[1], size[1])


def attend_in_runs(q_1HNE: Tensor, k_1HME: Tensor, v_1HME: Tensor, runs: tuple[Pair, ...], scoring: Scoring) -> Tensor:
    """``[1, H, N, E]``: each document by itself."""
    outs = []
    for queries, keys in runs:
        q, k, v = _documents(q_1HNE, queries), _documents(k_1HME, keys), _documents(v_1HME, keys)
        own = scoring
        if scoring.bias is not None:
            own = scoring._replace(bias=scoring.bias[:, :, : queries.longest, : keys.longest])
        attend = _long if max(queries.longest, keys.longest) > SHORT else _short
        out_NHE = attend(q, k, v, own.seen(keys, q.device), own).transpose(1, 2).flatten(0, 1)
        outs.append(out_NHE if queries.alike else out_NHE.index_select(0, queries.places(q.device).back_N))
    return torch.cat(outs)[None].transpose(1, 2)


def _documents(x_1HNE: Tensor, run: Run) -> Tensor:
    """``[C, H, T, E]``."""
    own_NHE = x_1HNE[0].transpose(0, 1)[run.start : run.end]
    if not run.alike:
        own_NHE = own_NHE.index_select(0, run.places(x_1HNE.device).places_CT.flatten())
    return own_NHE.view(len(run.lengths), run.longest, *own_NHE.shape[1:]).transpose(1, 2)


def _long(q_CHTE: Tensor, k_CHSE: Tensor, v_CHSE: Tensor, seen: Tensor | None, scoring: Scoring) -> Tensor:
    triangle = scoring.causal and scoring.bias is None and seen is not None and len(seen) == 1  # which kernels know
    mask = None if triangle else seen
    if scoring.bias is not None:
        mask = scoring.bias if seen is None else scoring.bias.masked_fill(~seen, -torch.inf)
    return F.scaled_dot_product_attention(
        q_CHTE, k_CHSE, v_CHSE, attn_mask=mask, is_causal=triangle, scale=scoring.scale, dropout_p=scoring.dropout
    )


def _short(q_CHTE: Tensor, k_CHSE: Tensor, v_CHSE: Tensor, seen: Tensor | None, scoring: Scoring) -> Tensor:
    documents, heads, length, width = q_CHTE.shape
    q, k, v = (part.flatten(0, 1) for part in (q_CHTE, k_CHSE, v_CHSE))  # not as `@` copies keys: axes swapped, slowly
    wide = torch.promote_types(q.dtype, torch.float32)
    scores_CHTS = (torch.bmm(q, k.mT).to(wide) * scoring.scale).view(documents, heads, length, -1)
    if scoring.bias is not None:
        scores_CHTS = scores_CHTS + scoring.bias
    if seen is not None:
        scores_CHTS = scores_CHTS.masked_fill(~seen, -torch.inf)
    by_torch = scores_CHTS.shape[-1] >= VECTOR
    weights_CHTS = (scores_CHTS.softmax(-1) if by_torch else _softmax(scores_CHTS)).to(v.dtype)
    weights = drop(weights_CHTS, scoring.dropout).flatten(0, 1)
    return torch.bmm(weights, v).view(documents, heads, length, width)


def _softmax(scores_CHTS: Tensor) -> Tensor:
    weights_CHTS = (scores_CHTS - scores_CHTS.amax(-1, keepdim=True).detach()).exp_()
    return weights_CHTS / weights_CHTS.sum(-1, keepdim=True)

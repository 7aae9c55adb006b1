"""Who sees whom in one forward pass: causality, document borders, padding and patterns in one place.

Document numbers (``segments``) say everything about borders: a token sees tokens of its own number only,
and padding is the document ``PADDING``, which nobody else sees.

Axes: B batch, H heads, Q queries, K keys.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from danlu.nn.patterns import Full, Pattern
from danlu.nn.runs import Pair, Run, find_pairs, find_runs

PADDING = -1
"""The document number of padding."""


class Sight:
    """Made once for all layers; a mask is built when a layer first asks for it.

    Args:
        queries: how many; they are the last of the ``keys`` positions unless ``start`` says otherwise.
        own: whether queries and keys are the same tokens.
        segments: ``(of the queries [B, Q], of the keys [B, K])`` document numbers; None where all is one document.
            Queries without numbers (None) see all keys that are no padding.
        prefix: ``(of the queries, of the keys)``, booleans: tokens of the prefix see each other both ways.
        start: ``[1]``: the position of the first query. As a tensor, so that a compiled step serves all positions.
    """

    def __init__(  # noqa: PLR0913 (each is a rule of its own)
        self,
        *,
        queries: int,
        keys: int,
        causal: bool,
        own: bool,
        device: torch.device,
        segments: tuple[Tensor | None, Tensor] | None = None,
        prefix: tuple[Tensor, Tensor] | None = None,
        start: Tensor | None = None,
    ) -> None:
        self.queries, self.keys, self.causal, self.own, self.device = queries, keys, causal, own, device
        self.segments, self.prefix, self.start = segments, prefix, start
        self.bias: Tensor | None = None
        """``[1, H, Q, K]`` added to the scores."""
        self.bias_of_runs: Tensor | None = None
        """In its place, where documents attend by themselves: ``[1, H, T, T]`` of the longest."""
        self._masks: dict[Pattern, Tensor | None] = {}
        self._runs: tuple[Run, ...] | None = None
        self._pairs: tuple[Pair, ...] | None = None
        self._looked_for_runs = self._looked_for_pairs = False

    @property
    def plain(self) -> bool:
        """Whether borders of documents and causality are all there is."""
        return self.bias is None and self.prefix is None

    @property
    def whole(self) -> bool:
        """Whether rows are read whole, by borders of documents and causality: by themselves, or beside an encoder's."""
        if self.prefix is not None or (self.segments is not None and self.segments[0] is None):
            return False
        return self.own or (not self.causal and self.queries > 1)

    @property
    def runs(self) -> tuple[Run, ...] | None:
        """The documents of a single packed row, where each can attend by itself; found when a layer first asks."""
        if not self._looked_for_runs:
            self._looked_for_runs = True
            if self.segments is not None and self.own and self.plain and len(self.segments[1]) == 1:
                self._runs = find_runs(self.segments[1])
        return self._runs

    @property
    def pairs(self) -> tuple[Pair, ...] | None:
        """The documents of a single packed row, and where their keys stand in another one that all of it sees."""
        if not self._looked_for_pairs:
            self._looked_for_pairs = True
            of_queries, of_keys = self.segments or (None, None)
            across = not self.own and not self.causal and self.plain and self.queries > 1
            if across and of_queries is not None and of_keys is not None and len(of_keys) == 1:
                self._pairs = find_pairs(of_queries, of_keys)
        return self._pairs

    def add_bias(
        self, bias: Callable[[Tensor, Tensor], Tensor], start: int, dtype: torch.dtype, *, by_documents: bool
    ) -> None:
        """Take in what scores get by distance, as a module works it out of positions that follow each other.

        Args:
            start: the position of the first query.
            by_documents: whether documents that can attend by themselves will do so: only the longest is worked out.
        """
        runs = self.runs if by_documents else None
        places = torch.arange(self.keys, device=self.device)
        queries = places[start : start + self.queries]
        if runs is not None:
            queries = places = places[: max(run.longest for run in runs)]
        found = bias(queries, places)
        # Torch 2.13 reads a bias of float32 wrongly, without a word, where queries are float64.
        found = found.to(torch.promote_types(found.dtype, dtype)).contiguous()  # here, and not in every layer
        if runs is None:
            self.bias = found
        else:
            self.bias_of_runs = found

    def mask(self, pattern: Pattern) -> Tensor | None:
        """What ``scaled_dot_product_attention`` takes: booleans, numbers where there is a bias, None for all."""
        if torch.compiler.is_compiling():  # where each layer makes its own, fused with what it is for
            return self._with_bias(self.visible(pattern))
        if pattern not in self._masks:
            self._masks[pattern] = self._with_bias(self.visible(pattern))
        return self._masks[pattern]

    def visible(self, pattern: Pattern) -> Tensor | None:
        """Booleans ``[1 or B, 1, Q, K]``; None where all see all."""
        query = torch.arange(self.queries, device=self.device)[:, None]
        query = query + (self.keys - self.queries if self.start is None else self.start)
        key = torch.arange(self.keys, device=self.device)[None, :]
        visible = self._by_pattern(pattern, query, key)
        if self.causal and not (self.queries == 1 and self.start is None):
            visible = _both(visible, (key <= query)[None, None])
            if self.prefix is not None:
                visible = visible | (self.prefix[0][:, None, :, None] & self.prefix[1][:, None, None, :])
        if self.segments is not None:
            of_queries, of_keys = self.segments
            visible = _both(visible, _same_document(of_queries, of_keys)[:, None])
        return visible

    def _by_pattern(self, pattern: Pattern, query_Q1: Tensor, key_1K: Tensor) -> Tensor | None:
        """``[1 or B, 1, Q, K]``; where a pattern minds places, they are those within a document."""
        if not pattern.by_place or self.segments is None:
            seen = pattern.sees(query_Q1, key_1K)
            return None if seen is None else seen[None, None]
        place_BK = positions_in_document(self.segments[1])
        seen = pattern.sees(place_BK[:, query_Q1[:, 0], None], place_BK[:, None, :])
        return None if seen is None else seen[:, None]

    def _with_bias(self, visible: Tensor | None) -> Tensor | None:
        if self.bias is None or visible is None:
            return visible if self.bias is None else self.bias
        return self.bias.masked_fill(~visible, -math.inf)

    def is_causal_only(self, pattern: Pattern) -> bool:
        """Whether the mask is the lower triangle, which kernels know without being told place by place."""
        return self.causal and self.own and self.plain and self.segments is None and isinstance(pattern, Full)


def _both(one: Tensor | None, other: Tensor) -> Tensor:
    return other if one is None else one & other


def _same_document(of_queries_BQ: Tensor | None, of_keys_BK: Tensor) -> Tensor:
    """``[B, Q or 1, K]``; padding sees everything, so that no row of weights is empty."""
    if of_queries_BQ is None:
        return (of_keys_BK != PADDING)[:, None, :]
    query = of_queries_BQ[:, :, None]
    return (query == of_keys_BK[:, None, :]) | (query == PADDING)


def positions_in_document(segments_BT: Tensor) -> Tensor:
    """``[B, T]``: how many earlier tokens of its row each token has the document number of."""
    numbers_BT, order_BT = segments_BT.sort(dim=1, stable=True)
    place_T = torch.arange(segments_BT.shape[1], device=segments_BT.device)
    first_BT = torch.ones_like(numbers_BT, dtype=torch.bool)
    first_BT[:, 1:] = numbers_BT[:, 1:] != numbers_BT[:, :-1]
    begin_BT = torch.where(first_BT, place_T, 0).cummax(1).values
    return torch.empty_like(order_BT).scatter_(1, order_BT, place_T - begin_BT)


def document_lengths(segments_BT: Tensor) -> Tensor:
    """``[B, T]``: how many tokens of its row have the document number that each token has."""
    rows = []
    for row_T in segments_BT:
        _, place_T, count = row_T.unique(return_inverse=True, return_counts=True)
        rows.append(count[place_T])
    return torch.stack(rows)


def longest_document(segments_BT: Tensor) -> int:
    """Tokens of the longest document in any row; padding is none."""
    return int(document_lengths(segments_BT).masked_fill(segments_BT == PADDING, 0).max())

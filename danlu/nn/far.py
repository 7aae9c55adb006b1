"""Keys that lie apart from a query, a regular share of the row: what Sparse Transformers see beside what is near.

Blocks of neighbouring keys would hold most of the row for the sake of a few keys in each; here only those few are
multiplied (Child et al. 2019, arXiv:1904.10509, section 4.3: two kinds of heads, here one softmax over both parts).

Axes: B batch, H heads, T queries, F far keys of a query, X steps of a stride, R places in a stride, E head width.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.nn.patterns import Fixed, Own, Pattern, Strided, Window


class Far(Protocol):
    """The far keys of all queries of a row."""

    near: Pattern
    """What is left of the pattern."""
    count: int
    """Far keys of a query, those that it does not see included."""

    def scores(self, q_BHTE: Tensor, k_BHTE: Tensor) -> Tensor:
        """Products ``[B, H, T, F]`` of each query with its far keys."""
        ...

    def seen(self, *, causal: bool, segments: Tensor | None, device: torch.device) -> Tensor:
        """``[1 or B, T, F]``: which of them a query sees."""
        ...

    def product(self, weights_BHTF: Tensor, v_BHTE: Tensor) -> Tensor:
        """``[B, H, T, E]``: each query's far values, weighted and added up."""
        ...


def far_of(pattern: Pattern, *, length: int) -> Far | None:
    """The far keys of a pattern that has some."""
    if isinstance(pattern, Strided) and length > pattern.stride:
        return Columns(pattern.stride, length)
    if isinstance(pattern, Fixed) and length > pattern.stride:
        return Summaries(pattern, length)
    return None


class Columns:
    """Every ``stride``-th key, seen from each query: a row written in lines of ``stride``, read column by column."""

    def __init__(self, stride: int, length: int) -> None:
        self.stride, self.length = stride, length
        self.near: Pattern = Window(stride - 1, stride - 1)
        self.count = -(-length // stride)

    def scores(self, q_BHTE: Tensor, k_BHTE: Tensor) -> Tensor:
        return self._row(self._columns(q_BHTE) @ self._columns(k_BHTE).mT)

    def seen(self, *, causal: bool, segments: Tensor | None, device: torch.device) -> Tensor:
        place_T1 = torch.arange(self.length, device=device)[:, None]
        line_F = torch.arange(self.count, device=device)
        key_TF = line_F * self.stride + place_T1 % self.stride
        own_T1 = place_T1 // self.stride
        seen_1TF = ((line_F < own_T1 if causal else line_F != own_T1) & (key_TF < self.length))[None]
        if segments is None:
            return seen_1TF
        return seen_1TF & (segments[:, :, None] == segments[:, key_TF.clamp_max(self.length - 1)])

    def product(self, weights_BHTF: Tensor, v_BHTE: Tensor) -> Tensor:
        return self._row(self._columns(weights_BHTF) @ self._columns(v_BHTE))

    def _columns(self, x_BHTE: Tensor) -> Tensor:
        """``[B, H, R, X, E]``."""
        whole = F.pad(x_BHTE, (0, 0, 0, -self.length % self.stride))
        return torch.unflatten(whole, 2, (-1, self.stride)).transpose(2, 3)

    def _row(self, x_BHRXE: Tensor) -> Tensor:
        return x_BHRXE.transpose(2, 3).flatten(2, 3)[:, :, : self.length]


class Summaries:
    """The last positions of every other block of ``stride`` positions, the same for all queries."""

    def __init__(self, pattern: Fixed, length: int) -> None:
        self.stride, self.length = pattern.stride, length
        self.near: Pattern = Own(pattern.stride)
        self.keys = [place for place in range(length) if place % pattern.stride >= pattern.stride - pattern.summary]
        self.count = len(self.keys)

    def scores(self, q_BHTE: Tensor, k_BHTE: Tensor) -> Tensor:
        return q_BHTE @ k_BHTE[:, :, self.keys].mT

    def seen(self, *, causal: bool, segments: Tensor | None, device: torch.device) -> Tensor:
        assert segments is None, "places are those of a row and not of its documents"
        place_T1 = torch.arange(self.length, device=device)[:, None]
        key_F = torch.tensor(self.keys, device=device)
        other = key_F // self.stride != place_T1 // self.stride
        return (other & (key_F < place_T1) if causal else other)[None]

    def product(self, weights_BHTF: Tensor, v_BHTE: Tensor) -> Tensor:
        return weights_BHTF @ v_BHTE[:, :, self.keys]

"""Documents in rows, wherever they stand: where each begins and ends, and one vector of each.

Axes: B rows, T tokens, D model width, N documents of the rows, in order.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from danlu.corpus.batches import Batch
from danlu.nn.config import Pooling
from danlu.nn.sight import PADDING


class Borders(NamedTuple):
    """Places in the flattened rows."""

    first_N: Tensor
    last_N: Tensor


def borders(segments_BT: Tensor) -> Borders:
    """Where documents begin and end; padding is none."""
    real_BT = segments_BT != PADDING
    before_BT = torch.nn.functional.pad(segments_BT, (1, 0), value=PADDING)[:, :-1]
    behind_BT = torch.nn.functional.pad(segments_BT, (0, 1), value=PADDING)[:, 1:]
    first, last = real_BT & (segments_BT != before_BT), real_BT & (segments_BT != behind_BT)
    return Borders(first.flatten().nonzero().flatten(), last.flatten().nonzero().flatten())


def number_of_token(borders_: Borders, places: int) -> Tensor:
    """``[B * T]`` which document each token is of, counted over all rows; padding is of that before it, or -1."""
    begins = torch.zeros(places, dtype=torch.long, device=borders_.first_N.device)
    begins[borders_.first_N] = 1
    return begins.cumsum(0) - 1


def vectors(hidden_BTD: Tensor, segments_BT: Tensor, pooling: Pooling, found: Borders | None = None) -> Tensor:
    """``[N, D]``: the first or last token of each document, or the mean of all of them in float32 at least."""
    found = found or borders(segments_BT)
    flat = hidden_BTD.flatten(0, 1)
    if pooling != "mean":
        return flat.index_select(0, found.first_N if pooling == "first" else found.last_N)
    real = (segments_BT != PADDING).flatten()
    wide = torch.promote_types(flat.dtype, torch.float32)
    number = number_of_token(found, len(flat))[real]
    sums = flat.new_zeros(len(found.first_N), flat.shape[1], dtype=wide)
    sums = sums.index_add(0, number, flat[real].to(wide))
    lengths = (found.last_N - found.first_N + 1)[:, None]
    return (sums / lengths).to(hidden_BTD.dtype)


def only(batch: Batch, *, every: int, place: int) -> Batch:
    """Of each ``every`` documents in turn the one at ``place``, all in one row without padding."""
    segments_BT = batch.inputs["segments"]
    number = number_of_token(borders(segments_BT), segments_BT.numel())
    keep = (segments_BT.flatten() != PADDING) & (number % every == place)
    inputs = {name: value.flatten()[keep][None] for name, value in batch.inputs.items()}
    targets = {name: value.flatten()[keep][None] for name, value in batch.targets.items()}
    return replace(batch, inputs={**inputs, "segments": number[keep][None]}, targets=targets)


def twice(batch: Batch) -> Batch:
    """All documents, and behind them all again, in one row without padding."""
    all_N = only(batch, every=1, place=0)
    inputs, targets = (
        {name: torch.cat([value, value], 1) for name, value in part.items()} for part in (all_N.inputs, all_N.targets)
    )
    segments = all_N.inputs["segments"]
    inputs["segments"] = torch.cat([segments, segments + segments.max() + 1], 1)
    return replace(batch, inputs=inputs, targets=targets)


def apart(values_BTX: Tensor, segments_BT: Tensor) -> list[Tensor]:
    """``[T, X]`` of each document, what its tokens have."""
    found, flat = borders(segments_BT), values_BTX.flatten(0, 1)
    return [flat[first : last + 1] for first, last in zip(found.first_N.tolist(), found.last_N.tolist(), strict=True)]


def side_by_side(values_BTX: Tensor, segments_BT: Tensor, *, filler: float) -> Tensor:
    """``[N, L, X]``: documents below each other, filled up to the longest."""
    found, flat = borders(segments_BT), values_BTX.flatten(0, 1)
    lengths_N = found.last_N - found.first_N + 1
    places_L = torch.arange(int(lengths_N.max()), device=flat.device)
    there_NL = places_L < lengths_N[:, None]
    wanted_NL = torch.where(there_NL, found.first_N[:, None] + places_L, 0)
    return flat[wanted_NL].masked_fill(~there_NL[:, :, None], filler)

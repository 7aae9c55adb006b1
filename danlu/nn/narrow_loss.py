"""What becomes of sums of products of integers that logits are made of: losses, and pushes in int8.

Axes: N tokens, V vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from danlu.nn.head import is_word, losses_of_logits
from danlu.nn.int8 import MOST

BELOW_MOST = 1.0 - 1e-5
"""What share of 127 the largest number of a row has, so that it is not rounded up to 128."""
LEAST_SHARE = 2.0**-6
"""Rows whose largest share is smaller are rounded as if it were so large. The integers of a row then come to some
127 * 64 together, whatever the vocabulary, and sums of products over it stay far within 32 bits. Sums over tokens do
where there are at most 133,144 of them at once, which ``rows_at_once`` keeps to from 127 words on."""
ODD, BY_ROW, BY_WORD = -1640531527, 40503, 30011
"""Factors of a multiplicative hash (Knuth, The Art of Computer Programming, vol. 3, 6.4), odd, so that none loses
bits; two more for the places of a logit, so that logits of the same sum, as those of zeros, have other last bits."""
BITS = 16
"""Of the hash that are used."""


class NarrowLoss(NamedTuple):
    """What becomes of some sums of products; the shares themselves go where they are told to."""

    total: Tensor
    """The summed loss in nats."""
    scale_N1: Tensor
    """What each row of shares is to be multiplied by; 0 where there is no target."""
    pull_N1: Tensor
    """The gradient with respect to the target's logit; 0 where there is none."""
    bias_V: Tensor | None
    """The gradient of the bias, but for the targets'."""


class Sums(NamedTuple):
    """Sums of products of integers, and how logits are made of them."""

    sums_NV: Tensor
    scale_N1: Tensor
    scale_1V: Tensor
    bias_V: Tensor | None
    first: Tensor
    """Which token of all the first row is: one integer, in a tensor, so that one compiled loop serves all chunks."""


def narrow_chunk_loss(
    sums: Sums, targets_N: Tensor, out_NV: Tensor, cap: float | None, smoothing: float, z_loss: float
) -> NarrowLoss:
    """The summed cross entropy of a chunk; ``out_NV`` becomes, in int8, how strongly each other word is pushed down."""
    scored_N1 = (targets_N >= 0)[:, None]
    index_N1 = targets_N.clamp_min(0)[:, None]
    logits_NV = sums.sums_NV.float() * (sums.scale_N1 * sums.scale_1V)
    at_target_N1 = sums.sums_NV.gather(1, index_N1).float() * (sums.scale_N1 * sums.scale_1V[0, index_N1])
    if sums.bias_V is not None:
        logits_NV, at_target_N1 = logits_NV + sums.bias_V.float(), at_target_N1 + sums.bias_V[index_N1].float()
    found = losses_of_logits(logits_NV, at_target_N1, cap, smoothing=smoothing, z_loss=z_loss)
    push_NV = torch.where(is_word(index_N1, logits_NV), 0.0, found.push_NV * found.slope_NV)
    most_N1 = push_NV.abs().amax(1, keepdim=True).clamp_min(LEAST_SHARE)
    steps_NV = push_NV * (MOST * BELOW_MOST / most_N1)
    out_NV.copy_(torch.floor(steps_NV + evenly_spread(sums.sums_NV, sums.first)))
    return NarrowLoss(
        total=(found.loss_N1 * scored_N1).sum(),
        scale_N1=most_N1 / (MOST * BELOW_MOST) * scored_N1,
        pull_N1=(found.push_at_target_N1 - (1.0 - smoothing)) * found.slope_at_target_N1 * scored_N1,
        bias_V=None if sums.bias_V is None else (push_NV * scored_N1).sum(0),
    )


def evenly_spread(sums_NV: Tensor, first: Tensor) -> Tensor:
    """Numbers between 0 and 1, as if drawn evenly, by the sums and by their places."""
    rows_N1 = (torch.arange(sums_NV.shape[0], dtype=torch.int32) + first)[:, None]
    words_V = torch.arange(sums_NV.shape[1], dtype=torch.int32)
    hashed = (sums_NV + rows_N1 * BY_ROW + words_V * BY_WORD) * ODD  # of 32 bits, and what does not fit is dropped
    highest: Tensor = (hashed >> (32 - BITS)) & (2**BITS - 1)
    return (highest.float() + 0.5) * 2.0**-BITS

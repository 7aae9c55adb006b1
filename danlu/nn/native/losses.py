"""Losses of sums of products of integers on processors with AVX-512 (``narrow_losses.cpp``).

Axes: N tokens, V vocabulary.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from danlu.machine import processor_flags
from danlu.nn.head import BOUNDING_CAP
from danlu.nn.int8 import MOST
from danlu.nn.narrow_loss import BELOW_MOST, BITS, BY_ROW, BY_WORD, LEAST_SHARE, ODD, NarrowLoss, Sums
from danlu.nn.native.building import load, place

NEEDED = {"avx512f", "avx512bw", "avx512dq", "avx512vl"}


class _Job(ctypes.Structure):
    """What the file is told."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in "NV"),
        *((name, ctypes.c_void_p) for name in ("sums", "scale_N", "scale_V", "targets")),
        *((name, ctypes.c_void_p) for name in ("out", "loss", "scale", "pull")),
        ("first", ctypes.c_int64),
        *((name, ctypes.c_float) for name in ("cap", "smoothing", "z_loss", "least_share", "most")),
        *((name, ctypes.c_int32) for name in ("odd", "by_row", "by_word", "bits")),
    ]  # fmt: skip


def has_losses(bias: Tensor | None) -> bool:
    """Whether :func:`native_chunk_loss` is for this processor, and for a head with this bias."""
    return bias is None and processor_flags() >= NEEDED


def native_chunk_loss(
    sums: Sums, targets_N: Tensor, out_NV: Tensor, cap: float | None, smoothing: float, z_loss: float
) -> NarrowLoss:
    """As :func:`danlu.nn.narrow_loss.narrow_chunk_loss`, for a head without a bias.

    Raises:
        IndexError: a target is no word, which C++ would not notice.
    """
    count, vocab_size = sums.sums_NV.shape
    assert out_NV.is_contiguous()
    if (targets_N >= vocab_size).any():
        raise IndexError(f"target {int(targets_N.max())} is no word of a vocabulary of {vocab_size}")
    scale_N, scale_V = sums.scale_N1.contiguous(), sums.scale_1V.contiguous()
    sums_NV, targets_N = sums.sums_NV.contiguous(), targets_N.long().contiguous()
    loss_N, scale_N1, pull_N1 = torch.empty(count), torch.empty(count, 1), torch.empty(count, 1)
    given = (sums_NV, scale_N, scale_V, targets_N, out_NV, loss_N, scale_N1, pull_N1)
    numbers = (cap or 0.0, smoothing, z_loss, LEAST_SHARE, MOST * BELOW_MOST, ODD, BY_ROW, BY_WORD, BITS)
    library = load("narrow_losses.cpp", BOUNDING_CAP=int(BOUNDING_CAP))
    library.narrow_losses(_Job(count, vocab_size, *map(place, given), int(sums.first), *numbers))
    return NarrowLoss(loss_N.sum(), scale_N1, pull_N1, None)

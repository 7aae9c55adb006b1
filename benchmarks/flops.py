"""Floating-point operations that a model needs for its training, and what a GPU could do at most."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from danlu.nn.config import TransformerConfig

PEAKS = {
    "B200": 2250.0, "H200": 989.0, "H100 PCIe": 756.0, "H100 NVL": 835.0, "H100": 989.0, "A100": 312.0, "A10G": 70.0,
    "A10": 125.0, "A40": 150.0, "L40S": 362.0, "L4": 121.0, "RTX 5090": 209.0, "RTX 4090": 165.0, "RTX 3090": 71.0,
}  # fmt: skip
"""TFLOP/s of dense products in bfloat16 with sums in float32, as their maker says; ``H100`` alone is the SXM."""
SQUARE = 8192
"""Side of the matrices that are multiplied where a GPU is not in the table."""


@dataclass(frozen=True)
class Read:
    """What went through a model."""

    own: Sequence[int]
    """Tokens of each document, in the stack whose hidden states the head reads."""
    scored: int
    """Tokens that the head has to say something about."""
    source: Sequence[int] = ()
    """Tokens of each document in the encoder beside a decoder; the n-th belongs to the n-th of ``own``."""


def training_flops(config: TransformerConfig, read: Read) -> float:
    """Of forward and backward: 6 a token and matrix parameter, and attention (PaLM, arXiv:2204.02311, appendix B).

    Attention of a query to a key is two products of a head's width, so 12 a pair, head and number with the backward
    pass. Only pairs of one document count, of causal attention only those that are not hidden: the half. The embedding
    multiplies nothing; the head counts for scored tokens; keys and values of cross attention, for tokens of the source.
    """
    import torch

    from danlu.nn.transformer import Transformer

    with torch.device("meta"):
        model = Transformer(config)
    own, source = sum(read.own), sum(read.source)
    total = 0.0
    for name, weight in model.named_parameters(remove_duplicate=False):
        if weight.ndim < 2 or name == "embedding.weight" or ".entry." in name or name.endswith("bias.weight"):
            continue
        beside = name.startswith("encoder.") and config.decoder is not None
        of_source = beside or re.search(r"cross\.(key|value)", name)
        tokens = read.scored if name.startswith("head.") else source if of_source else own
        total += 6.0 * weight.numel() * tokens
    sides = [(config.stack, read.own)]
    if config.encoder is not None and config.decoder is not None:
        sides.append((config.encoder, read.source))
    for stack, lengths in sides:
        pairs = sum(length * length for length in lengths) * (0.5 if stack.causal else 1.0)
        for layer in stack.layers:
            total += 12.0 * layer.attention.heads * layer.attention.head_dim * pairs
            if layer.cross is not None:
                across = sum(one * other for one, other in zip(read.own, read.source, strict=True))
                total += 12.0 * layer.cross.heads * layer.cross.head_dim * across
    return total


def peak_of(name: str) -> float | None:
    """FLOP/s of a GPU by its name; None where the table does not have it."""
    for known, teraflops in PEAKS.items():
        if re.search(rf"\b{known}\b", name):
            return teraflops * 1e12
    return None


def measured_rate(device: str, *, side: int = SQUARE) -> float:
    """FLOP/s of a product of two large bfloat16 matrices."""
    import torch

    left, right = (torch.randn(side, side, device=device).bfloat16() for _ in range(2))
    seconds = []
    for _ in range(8):
        started = time.perf_counter()
        left @ right
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return 2.0 * side**3 / min(seconds)


@dataclass(frozen=True)
class Gpu:
    """What a GPU is measured against."""

    peak: float
    """FLOP/s that utilisation is a share of."""
    about: str
    """Where that number is from, in words."""
    no_float8: str | None
    """Why it does not multiply float8; None where it does."""


def look_at_gpu(device: str, *, side: int = SQUARE) -> Gpu | None:
    """None where there is no GPU; the processor where that is the device."""
    import torch

    from danlu.nn.float8 import why_no_float8

    if device == "cuda" and not torch.cuda.is_available():
        return None
    name = torch.cuda.get_device_name() if device == "cuda" else "the processor"
    rate = measured_rate(device, side=side)
    measured = f"{rate / 1e12:,.3g} TFLOP/s measured by a product of {side} x {side}"
    if device == "cuda" and (known := peak_of(name)) is not None:
        about = f"{name}: {known / 1e12:,.0f} TFLOP/s of dense bfloat16, as its maker says; {measured}"
        return Gpu(known, about, why_no_float8())
    return Gpu(rate, f"{name} is not in the table: {measured}", why_no_float8())

"""Rotary positions of a GGUF file, as ``rope_parameters`` of a ``config.json``.

Axes: F frequencies of rotary positions (half a head's width).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from danlu.errors import CheckpointError
from danlu.nn.hf.config_file import ConfigFile
from danlu.nn.hf.gguf_file import GGUFFile

FREQUENCIES = "rope_freqs.weight"
LLAMA3_LENGTH, LLAMA3_SLOW, LLAMA3_FAST = 8192, 1.0, 4.0
"""What every Llama 3.1, 3.2 and 3.3 has; a GGUF file holds only what follows from it."""
SCALINGS = ("none", "linear", "yarn")


def rope_parameters(file: GGUFFile, meta: ConfigFile, prefix: str, head_dim: int) -> dict[str, Any]:
    """What the metadata behind ``prefix`` and the tensor of frequencies say."""
    known: dict[str, Any] = {"rope_theta": meta.number(prefix + "rope.freq_base", 10000.0), "rope_type": "default"}
    scaling = prefix + "rope.scaling."
    meta.only(scaling + "type", *SCALINGS)
    meta.only(scaling + "attn_factor", 1.0)
    meta.only(scaling + "yarn_attn_factor", 1.0)
    meta.only(scaling + "yarn_ext_factor", -1.0, 1.0)
    kind = meta.get(scaling + "type", "none")
    old = meta.get(prefix + "rope.scale_linear")
    if old is not None and kind == "none":
        kind = "linear"
    if kind != "none":
        known["rope_type"] = kind
        known["factor"] = meta.number(scaling + "factor", old)
    if kind == "yarn":
        known["original_max_position_embeddings"] = meta.integer(
            scaling + "original_context_length", meta.integer(prefix + "context_length")
        )
        for ours in ("beta_fast", "beta_slow"):
            if meta.get(f"{scaling}yarn_{ours}") is not None:
                known[ours] = meta.number(f"{scaling}yarn_{ours}")
    if FREQUENCIES in file.tensors:
        original = meta.integer(scaling + "original_context_length", LLAMA3_LENGTH)
        return {**known, **_llama3(file, known["rope_theta"], head_dim, original)}
    return known


def _llama3(file: GGUFFile, theta: float, head_dim: int, original: int) -> Mapping[str, Any]:
    """Llama 3's scaling, found again from what each frequency is divided by."""
    stored = file.tensors[FREQUENCIES]
    if stored.shape != (head_dim // 2,):  # before there is memory for as many as the metadata say
        raise CheckpointError(f"{file.path}: {FREQUENCIES} must be [{head_dim // 2}]; got {list(stored.shape)}")
    given_F = stored.read()
    if torch.equal(given_F, torch.ones(head_dim // 2)):
        return {}
    factor = float(given_F.max())
    frequency_F = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
    share_F = (original * frequency_F / (2 * math.pi) - LLAMA3_SLOW) / (LLAMA3_FAST - LLAMA3_SLOW)
    share_F = share_F.clamp(0, 1)
    expected_F = 1 / ((1 - share_F) / factor + share_F)
    if not torch.allclose(given_F.double(), expected_F, rtol=1e-4):
        raise CheckpointError(f"{file.path}: {FREQUENCIES} holds other factors than those of Llama 3's scaling")
    return {
        "rope_type": "llama3", "factor": factor, "original_max_position_embeddings": original,
        "low_freq_factor": LLAMA3_SLOW, "high_freq_factor": LLAMA3_FAST,
    }  # fmt: skip

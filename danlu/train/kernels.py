"""Attention in C++ in trainings that are not compiled: whether this machine, and every other rank's, has it."""

from __future__ import annotations

import torch

from danlu.nn.attention import Attention
from danlu.nn.native.attention import FILE, can_attend_with
from danlu.nn.native.building import can_load
from danlu.nn.transformer import Transformer
from danlu.parallel.joining import Ranks


def use_native_attention(model: Transformer, dtype: torch.dtype, ranks: Ranks, *, compiled: bool) -> bool:
    """Have attention of documents that stand in one row go through C++, which is compiled here where it never was.

    It draws other numbers for dropout than torch's way, so either all ranks take it or none.
    """
    device = model.embedding.weight.device
    ours = [each for each in model.modules() if isinstance(each, Attention)]
    ours = [each for each in ours if can_attend_with(each.head_dim, dtype, device)]
    widths = {each.head_dim for each in ours}
    own = bool(ours) and not compiled and all(can_load(FILE, HEAD=width) for width in sorted(widths))
    there = all(ranks.all(own))
    for each in ours:
        each.native = there
    return there

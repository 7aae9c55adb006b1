"""Attention in C++ in trainings that are not compiled: whether it is of use, and this machine and all ranks have it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from danlu.corpus.batches import Group
from danlu.log import say
from danlu.nn.attention import Attention
from danlu.nn.native.attention import FILE, can_attend_with
from danlu.nn.native.building import can_load
from danlu.nn.transformer import Transformer
from danlu.parallel.joining import Ranks


def use_native_attention(
    model: Transformer, dtype: torch.dtype, ranks: Ranks, *, groups: Sequence[Group], wanted: bool
) -> bool:
    """Have attention of documents that stand in one row go through C++, which is compiled here where it never was.

    It draws other numbers for dropout than torch's way, so either all ranks take it or none.

    Args:
        groups: the micro-batches of a step, which have to be single rows.
        wanted: whether this rank can do with it.
    """
    one_row = all(len(group.numbers) == 1 for group in groups)
    layers = _layers(model, dtype) if wanted and one_row else []
    own = bool(layers) and _loads({each.head_dim for each in layers}, ranks)
    everywhere = ranks.all(own)
    lacking = [str(rank) for rank, has in enumerate(everywhere) if not has]
    if own and lacking:
        say(f"attention goes through torch, for it cannot go through C++ on rank {', '.join(lacking)}")
    for each in layers:
        each.native = not lacking
    return not lacking


def _loads(widths: set[int], ranks: Ranks) -> bool:
    """Whether this rank has it for heads of these widths."""
    with ranks.compiling():
        return all(can_load(FILE, HEAD=width) for width in sorted(widths))


def _layers(model: Transformer, dtype: torch.dtype) -> list[Attention]:
    """Those of self-attention whose scores have no bias, and whose heads have a width that there is."""
    device = model.embedding.weight.device
    blocks = [block for stack in model.stacks if stack.bias is None for block in stack.blocks]
    every = [block.attention for block in blocks if isinstance(block.attention, Attention)]
    return [each for each in every if each.places is None and can_attend_with(each.head_dim, dtype, device)]

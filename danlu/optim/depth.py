"""Layer-wise decay of the learning rate: the lower a layer, the less of it is changed.

For fine-tuning: ELECTRA (Clark et al. 2020, arXiv:2003.10555), in BEiT's form (Bao et al. 2021, arXiv:2106.08254):
the head learns at the full rate, the block below it at ``layer_decay`` of that, the one below at its square, and
so on down to the embeddings. The decoder stands above the encoder.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch

from danlu.optim.protocol import NamedParameters, OptimizerChoice


def build_optimizer(
    choice: OptimizerChoice, parameters: NamedParameters, *, layer_decay: float = 1.0
) -> torch.optim.Optimizer:
    """What ``choice`` builds, its parameter groups split by depth where ``layer_decay`` is below 1.

    A group that says no ``lr_scale`` has the learning rate that it is built with.
    """
    named = list(parameters)
    optimizer = choice.build(named)
    for group in optimizer.param_groups:
        group.setdefault("lr_scale", group["lr"])
    if layer_decay < 1:
        _split(optimizer, named, layer_decay)
    return optimizer


def layers_above(names: Iterable[str]) -> dict[str, int]:
    """How many layers stand above each parameter: 0 for the head, the most for the embeddings.

    A stack's last norm, and its table of relative positions, which all of its blocks share, are of its topmost block.
    """
    names = list(names)
    blocks = {stack: max(_blocks(names, stack), default=0) for stack in ("encoder", "decoder")}
    below = {"encoder": 0, "decoder": blocks["encoder"]}
    head = sum(blocks.values()) + 1
    above: dict[str, int] = {}
    for name in names:
        stack, _, rest = name.partition(".")
        if stack not in blocks:
            layer = 0 if stack == "embedding" else head
        elif rest.startswith("entry."):
            layer = 0
        else:
            layer = below[stack] + (max(_blocks([name], stack), default=0) or blocks[stack])
        above[name] = head - layer
    return above


def _blocks(names: Iterable[str], stack: str) -> list[int]:
    """The numbers of the blocks that parameters of a stack are in, counted from 1."""
    found = (re.match(rf"{stack}\.blocks\.(\d+)\.", name) for name in names)
    return [int(match[1]) + 1 for match in found if match]


def _split(optimizer: torch.optim.Optimizer, named: NamedParameters, layer_decay: float) -> None:
    """Every group becomes one a depth, the lowest first, alike but for ``lr_scale``."""
    named = list(named)
    above = layers_above(name for name, _ in named)
    depths = {id(parameter): above[name] for name, parameter in named}
    split: list[dict[str, Any]] = []
    for group in optimizer.param_groups:
        members: dict[int, list[torch.Tensor]] = defaultdict(list)
        for parameter in group["params"]:
            members[depths[id(parameter)]].append(parameter)
        for depth in sorted(members, reverse=True):
            scale = group["lr_scale"] * layer_decay**depth
            split.append({**group, "params": members[depth], "lr_scale": scale, "lr": scale})
    optimizer.param_groups[:] = split

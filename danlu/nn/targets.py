"""Linear layers by the patterns that name them, and how another layer takes their place."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import nn

from danlu.errors import RecipeError

LINEARS_OF_BLOCKS = r"blocks\..*\.(query|key|value|out|up|down)"
"""Those of attention and MLPs; not the routers of experts."""


def named_layers(
    model: nn.Module, patterns: Sequence[str], kinds: type[nn.Module] | tuple[type[nn.Module], ...] = nn.Linear
) -> dict[str, nn.Module]:
    """The layers of these kinds that a pattern names, in the model's order.

    A pattern is a regular expression for a module's name or for the end of it behind a dot:
    ``query`` is every layer's query, ``blocks.0.mlp.*`` the first MLP.

    Raises:
        RecipeError: a pattern is no regular expression, or names no layer.
    """
    layers = {name: module for name, module in model.named_modules() if isinstance(module, kinds)}
    chosen: set[str] = set()
    for pattern in patterns:
        try:
            whole = re.compile(rf"(?:.*\.)?(?:{pattern})")
        except re.error as error:
            raise RecipeError(f"targets must be regular expressions; got {pattern!r}: {error}") from None
        found = [name for name in layers if whole.fullmatch(name)]
        if not found:
            ends = sorted({name.rpartition(".")[2] for name in layers})
            raise RecipeError(f"targets: {pattern!r} names no linear layer; their names end in {', '.join(ends)}")
        chosen.update(found)
    return {name: layer for name, layer in layers.items() if name in chosen}


def put(model: nn.Module, name: str, layer: nn.Module) -> None:
    """Have ``layer`` stand at ``name``."""
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, layer)

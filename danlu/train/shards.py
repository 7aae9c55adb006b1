"""What cannot be where weights are in shards: ranks that share them gather and sum them together, all alike."""

from __future__ import annotations

from torch import nn

from danlu.errors import RecipeError
from danlu.nn.transformer import Transformer
from danlu.objectives.protocol import AnyObjective
from danlu.parallel.mesh import Place


def check_shards(
    objective: AnyObjective, model: Transformer, modules: nn.Module | None, place: Place, *, several: bool
) -> None:
    """Refuse a training whose weights cannot be in shards, where they shall be.

    Args:
        modules: the objective's own.
        several: whether the model has a head for each of several tasks.

    Raises:
        RecipeError: it trains weights of its own, or some ranks would use, or skip, weights that others do not.
    """
    if not place.together:
        return
    if modules is not None:
        raise RecipeError(
            f"{place.section}.objective trains weights of its own, which cannot be in shards: "
            f"{place.section}.hardware.mesh.shard must be 1; got {place.shard_size}"
        )
    if any(stack.layer_drop for stack in model.stacks):  # each rank draws which ones
        raise RecipeError(
            f"{place.section}.hardware.mesh.shard must be 1 for a model that skips layers in training, unless its "
            f"config.json has encoder_layerdrop and decoder_layerdrop 0; got {place.shard_size}"
        )
    if not objective.alike or (several and len(set(model.head.each.values())) > 1):
        raise RecipeError(
            f"{place.section}.hardware.mesh.shard must be 1 where tasks have heads of their own: ranks that share "
            f"weights have to use the same ones at the same time; got {place.shard_size}"
        )

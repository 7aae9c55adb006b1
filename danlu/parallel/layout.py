"""How a model lies over the ranks: which part of each weight is where, and who owns it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule

from danlu.errors import DanluError
from danlu.nn.transformer import Transformer
from danlu.parallel.joining import Ranks
from danlu.parallel.mesh import Place
from danlu.parallel.sharding import shard
from danlu.parallel.tensor_parallel import Split, divide_products


@dataclass(frozen=True)
class Layout:
    """What the ranks have made of a model."""

    ranks: Ranks
    place: Place
    mesh: DeviceMesh | None
    """None for one process."""
    splits: Mapping[str, Split] = field(default_factory=dict)
    """Weights of which each tensor-parallel rank holds a part, or has a part of the gradient."""
    gathering: Sequence[FSDPModule] = ()
    """Modules that gather their weights from the ranks when they are needed."""

    def let_go(self) -> None:
        """Have gathered weights be gathered anew: after they have changed, without a backward pass since."""
        for module in self.gathering:
            module.reshard()


def lay_out(model: Transformer, dtype: torch.dtype, ranks: Ranks, place: Place) -> Layout:
    """Cut the float32 ``model``, which is the same on all ranks, to this rank's part of it.

    Sharded weights stay float32 and are gathered as ``dtype``; others get it from their masters.

    Raises:
        DanluError: the ranks do not have the same weights.
        RecipeError: the model cannot be cut so.
    """
    if ranks.size == 1:
        return Layout(ranks, place, None)
    check_alike(ranks, model.named_parameters())
    device = next(model.parameters()).device.type
    sizes = (place.data_size, place.shard_size, place.tensor_size)
    mesh = init_device_mesh(device, sizes, mesh_dim_names=("data", "shard", "tensor"))
    splits = divide_products(model, place, mesh.get_group("tensor")) if place.tensor_size > 1 else {}
    if place.shard_size > 1:
        shard(model, mesh["shard"], dtype)
    gathering = [module for module in model.modules() if isinstance(module, FSDPModule)]
    return Layout(ranks, place, mesh, splits, gathering)


def check_same(ranks: Ranks, known: Mapping[str, str], *, section: str) -> None:
    """Refuse to train where what each machine has found for itself is not the same on all.

    Args:
        known: by what it is called in the message.
        section: of the recipe, for the error.

    Raises:
        DanluError: and the first difference, on which rank.
    """
    first, *others = ranks.all(dict(known))
    for rank, told in enumerate(others, 1):
        for name, value in told.items():
            if value != first[name]:
                raise DanluError(
                    f"rank {rank} has another {name} than rank 0: {value}, not {first[name]}; all ranks need the same: "
                    f"set {section}.precision and {section}.hardware.device, and have run_dir on a disk that all share"
                )


def check_alike(ranks: Ranks, named: Iterable[tuple[str, Tensor]]) -> None:
    """Refuse to train copies of a model that were not drawn alike: other versions, seeds or files.

    Raises:
        DanluError: and the first weight that differs, on which rank.
    """
    digests = {name: hashlib.sha256(_bytes(weight)).hexdigest() for name, weight in named}
    first, *others = ranks.all(digests)
    for rank, told in enumerate(others, 1):
        different = [name for name in first | told if first.get(name) != told.get(name)]
        if different:
            raise DanluError(
                f"rank {rank} begins with another {different[0]} than rank 0: "
                "all ranks need the same version of danlu and torch, the same recipe and the same files"
            )


def _bytes(weight: Tensor) -> bytes:
    return weight.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()


def owners(named: Iterable[tuple[str, nn.Parameter]], size: int) -> dict[str, int]:
    """The rank that owns each weight, name by name: the largest go first, each to who has least so far."""
    load, owner = [0] * size, {}
    for name, numbers in sorted(((name, weight.numel()) for name, weight in named), key=lambda each: -each[1]):
        owner[name] = rank = load.index(min(load))
        load[rank] += numbers
    return owner

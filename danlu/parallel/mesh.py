"""How the processes of a training share it: ``mesh: {data: …, shard: …, tensor: …}``, and whose a micro-batch is.

Ranks are numbered with ``tensor`` innermost, then ``shard``, then ``data``: those that talk most stand side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pydantic import Field

from danlu.errors import RecipeError
from danlu.parallel.patience import Watch
from danlu.recipe import Settings

T = TypeVar("T")


class Mesh(Settings):
    """Processes along three axes; their product is the number of processes."""

    data: int | None = Field(default=None, ge=1)
    """Copies of the model, each with its own micro-batches; by default as many as the other two leave."""
    shard: int = Field(default=1, ge=1)
    """Ranks that share the weights of a copy, each with its own micro-batches (FSDP)."""
    tensor: int = Field(default=1, ge=1)
    """Ranks that share every matrix product of a block: heads of attention, hidden numbers of an MLP."""
    watch: Watch = Watch()
    """When a rank counts as lost."""

    def place(self, *, rank: int, size: int, section: str = "pretrain") -> Place:
        """Where ``rank`` of ``size`` processes stands.

        Args:
            section: of the recipe, for the error.

        Raises:
            RecipeError: the mesh does not have so many places.
        """
        each = self.shard * self.tensor
        data = self.data if self.data is not None else max(1, size // each)
        if data * each != size:
            asked = f"shard {self.shard} x tensor {self.tensor}"
            wrong = (
                f"{asked} does not divide"
                if self.data is None
                else f"data {self.data} x {asked} = {data * each} is not"
            )
            raise RecipeError(f"{section}.hardware.mesh: {wrong} the number of processes, {size}")
        return Place(rank, data, self.shard, self.tensor, section)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a rank stands in a mesh whose sizes are all known."""

    rank: int
    data_size: int = 1
    shard_size: int = 1
    tensor_size: int = 1
    section: str = "pretrain"
    """Of the recipe, for errors."""

    def __str__(self) -> str:
        sizes = {"data": self.data_size, "shard": self.shard_size, "tensor": self.tensor_size}
        return " x ".join(f"{name} {size}" for name, size in sizes.items() if size > 1) or "1"

    @property
    def size(self) -> int:
        return self.data_size * self.shard_size * self.tensor_size

    @property
    def data(self) -> int:
        return self.rank // (self.shard_size * self.tensor_size)

    @property
    def shard(self) -> int:
        return self.rank // self.tensor_size % self.shard_size

    @property
    def tensor(self) -> int:
        return self.rank % self.tensor_size

    @property
    def reader(self) -> int:
        """Which of the ``readers`` it is: ranks that share only matrix products read the same micro-batches."""
        return self.rank // self.tensor_size

    @property
    def readers(self) -> int:
        """Into how many parts a step's micro-batches are divided."""
        return self.data_size * self.shard_size

    @property
    def together(self) -> bool:
        """Whether ranks share weights, so that all of them go through the model equally often."""
        return self.shard_size > 1

    @property
    def shared(self) -> bool:
        """Whether a pass through the model needs other ranks."""
        return self.shard_size * self.tensor_size > 1

    def at(self, *, data: int, shard: int, tensor: int) -> int:
        """The rank that stands there."""
        return (data * self.shard_size + shard) * self.tensor_size + tensor

    def once(self, sums: Mapping[str, T]) -> dict[str, T]:
        """What this rank adds to the sums over all ranks: nothing where another has read the same micro-batches."""
        return dict(sums) if self.tensor == 0 else {}

    def own(self, micro_batches: Sequence[T]) -> list[tuple[T, bool]]:
        """This rank's micro-batches of a step, in order, each with whether it counts.

        Where weights are shared, ranks go through the model together, so that all have equally many: a rank that has
        fewer goes through the step's first once more, and that does not count.
        """
        numbers = share(len(micro_batches), self.reader, self.readers)
        mine = [(micro_batches[number], True) for number in numbers]
        if self.together:
            most = -(-len(micro_batches) // self.readers)
            mine += [(micro_batches[0], False)] * (most - len(mine))
        return mine


def share(count: int, part: int, parts: int) -> range:
    """The numbers below ``count`` of ``part`` of ``parts``: a run of them; the first parts have one more."""
    each, more = divmod(count, parts)
    start = part * each + min(part, more)
    return range(start, start + each + (part < more))

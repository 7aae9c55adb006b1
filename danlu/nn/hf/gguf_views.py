"""Tensors of a GGUF file as a folder would hold them: rows put back, matrices turned, one expert of many."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from danlu.errors import CheckpointError
from danlu.nn.hf.gguf_file import GGUFTensor
from danlu.nn.hf.tensors import Readable


class Halves:
    """A tensor whose heads' rows stand pair by pair in the file and half by half in ours."""

    def __init__(self, tensor: Readable, heads: int) -> None:
        self.tensor, self.heads = tensor, heads

    @property
    def path(self) -> Path:
        return self.tensor.path

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tensor.shape

    def read(self) -> Tensor:
        pairs = self.tensor.read().view(self.heads, -1, 2, *self.shape[1:])
        return pairs.transpose(1, 2).reshape(self.shape)


class Turned:
    """A matrix that stands the other way round than in a folder; a vector is what it is."""

    def __init__(self, tensor: Readable) -> None:
        self.tensor = tensor

    @property
    def path(self) -> Path:
        return self.tensor.path

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tensor.shape[::-1]

    def read(self) -> Tensor:
        return self.tensor.read().T if len(self.shape) == 2 else self.tensor.read()


def expert(tensor: GGUFTensor, number: int, count: int) -> GGUFTensor:
    """The matrix of one of ``count`` experts, which lie one after the other.

    Raises:
        CheckpointError: there are not so many.
    """
    if len(tensor.shape) != 3 or tensor.shape[0] != count:
        raise CheckpointError(
            f"{tensor.path}: {tensor.name} must hold a matrix for each of {count} experts; got {list(tensor.shape)}"
        )
    size = len(tensor.blocks) // count
    return replace(tensor, shape=tensor.shape[1:], blocks=tensor.blocks[number * size : (number + 1) * size])

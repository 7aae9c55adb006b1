"""Our tensors and those of a folder: renamed, cut, joined, turned."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from danlu.errors import CheckpointError
from danlu.nn.hf.family import Copy, Stored, WeightNames


class Readable(Protocol):
    """A tensor in a file: its shape without reading it, and itself."""

    @property
    def path(self) -> Path: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    def read(self) -> Tensor: ...


def written(
    state: Mapping[str, Tensor], names: WeightNames, *, dtype: torch.dtype, copies: tuple[Copy, ...] = ()
) -> Iterator[tuple[str, Tensor]]:
    """The tensors as they are called in the folder, and those of ``copies`` that must stand there too."""
    together: dict[tuple[str, ...], list[tuple[Stored, str]]] = defaultdict(list)
    for ours, where in names.items():
        together[where.names].append((where, ours))
    for theirs, parts in together.items():
        parts.sort(key=lambda pair: pair[0].part)
        rows = [_as_rows(state[ours].detach(), len(theirs)) for _, ours in parts]
        whole = torch.cat(rows) if len(rows) > 1 else rows[0]
        for name, piece in zip(theirs, whole.chunk(len(theirs)), strict=True):
            turned = piece.T if parts[0][0].transposed and piece.ndim == 2 else piece
            turned = turned[None] if parts[0][0].one_row else turned
            # A copy where it is cut: safetensors refuses tensors that share memory.
            yield name, turned.to("cpu", dtype, copy=len(theirs) > 1).contiguous()
    for copy in copies:
        if copy.written:
            ours = next(each for each, where in names.items() if where.names == (copy.of,))
            yield copy.name, state[ours].detach().to("cpu", dtype, copy=True)


def read(found: Mapping[str, Readable], where: Stored, shape: tuple[int, ...], dtype: torch.dtype) -> nn.Parameter:
    """One of our tensors, put together and copied: the file may be replaced while the model lives.

    Raises:
        CheckpointError: a tensor in the folder has another shape.
    """
    check_shape(found, where, shape)  # before there is memory for a tensor that may be larger than any machine's
    whole = torch.empty(_rows(shape, len(where.names)), dtype=dtype)
    for name, piece in zip(where.names, whole.chunk(len(where.names)), strict=True):
        tensor = found[name].read()[0] if where.one_row else found[name].read()
        turned = tensor.T if where.transposed and tensor.ndim == 2 else tensor
        piece.copy_(turned.chunk(where.parts)[where.part])
    return nn.Parameter(whole.view(shape))


def check_shape(found: Mapping[str, Readable], where: Stored, shape: tuple[int, ...]) -> None:
    """Refuse a folder whose tensors are not what one of ours is put together from.

    Raises:
        CheckpointError: one has another shape.
    """
    rows = _rows(shape, len(where.names))
    part = (rows[0] // len(where.names), *rows[1:])
    theirs = (part[0] * where.parts, *part[1:])
    theirs = theirs[::-1] if where.transposed else (1, *theirs) if where.one_row else theirs
    for name in where.names:
        if found[name].shape != theirs:
            path = found[name].path
            raise CheckpointError(f"{path}: {name} must be {list(theirs)}; got {list(found[name].shape)}")


class Typed(Readable, Protocol):
    """A tensor in a file whose values are of a type: None where it is none that weights have."""

    @property
    def dtype(self) -> torch.dtype | None: ...


def narrowest_dtype(tensors: Collection[Typed]) -> torch.dtype:
    """The narrowest of their types that holds every number of all of them exactly; float32 where none does.

    Where types differ values are looked at: norms that are stored in float32 are often numbers of float16.
    """
    numbers: Counter[torch.dtype] = Counter()
    for tensor in tensors:
        if tensor.dtype is not None:
            numbers[tensor.dtype] += math.prod(tensor.shape)
    for dtype in sorted(numbers, key=lambda each: (each.itemsize, -numbers[each])):
        if all(_holds(dtype, tensor) for tensor in tensors):
            return dtype
    return torch.float32


def _holds(dtype: torch.dtype, tensor: Typed) -> bool:
    if tensor.dtype is None or torch.promote_types(tensor.dtype, dtype) == dtype:
        return True
    values = tensor.read()
    return torch.equal(values.to(dtype).to(values.dtype), values)


def same(one: Readable, other: Readable) -> bool:
    """Whether two tensors of a folder hold the same numbers."""
    return one is other or (one.shape == other.shape and torch.equal(one.read(), other.read()))


def _as_rows(tensor: Tensor, parts: int) -> Tensor:
    return tensor.reshape(_rows(tuple(tensor.shape), parts))


def _rows(shape: tuple[int, ...], parts: int) -> tuple[int, ...]:
    """The shape whose first axis is cut into ``parts``: experts lie one below the other."""
    stacked = len(shape) == 3 and parts > 1
    return (shape[0] * shape[1], *shape[2:]) if stacked else shape

"""The weights of a folder: one file of safetensors, or several that an index names.

Only safetensors are read: pickled weights can run code. A file that an index names lies in the folder itself.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from danlu.errors import CheckpointError, shown
from danlu.files import sync_file, sync_folder, write_json
from danlu.nn.hf.settings_files import check_stays, stays

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
SHARD = "model-{number:05}-of-{count:05}.safetensors"
SHARD_BYTES = 5_000_000_000
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""What safetensors calls the types that weights have -> the types."""


class StoredTensor:
    """One tensor of an open file."""

    def __init__(self, path: Path, name: str, file: Any) -> None:
        self.path, self.name, self._file = path, name, file

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._file.get_slice(self.name).get_shape())

    @property
    def dtype(self) -> torch.dtype | None:
        """None where it is none that weights have."""
        return DTYPES.get(self._file.get_slice(self.name).get_dtype())

    def read(self) -> Tensor:
        """The tensor itself.

        Raises:
            CheckpointError: it holds whole numbers or a quantised form.
        """
        if self.dtype is None:
            kind, choices = self._file.get_slice(self.name).get_dtype(), ", ".join(DTYPES)
            raise CheckpointError(f"{self.path}: {self.name} must be of a type of weights ({choices}); got {kind}")
        tensor: Tensor = self._file.get_tensor(self.name)
        return tensor


def weights_path(folder: Path) -> Path:
    """The file to name where something is wrong with the weights as a whole."""
    index = folder / INDEX
    return index if index.exists() and not (folder / WEIGHTS).exists() else folder / WEIGHTS


def open_weights(folder: Path, stack: ExitStack) -> dict[str, StoredTensor]:
    """Every tensor of the folder by name; the files stay open as long as ``stack``.

    Raises:
        CheckpointError: a file is missing or damaged, or the index does not say what is so.
    """
    place = weights_path(folder)
    if place.name == WEIGHTS:
        return open_file(check_stays(folder, place), stack)
    listed = _read_index(check_stays(folder, place))
    found: dict[str, StoredTensor] = {}
    for name in sorted(set(listed.values())):
        tensors = open_file(_beside(place, name), stack)
        for tensor in tensors:
            if listed.get(tensor) != name:
                said = f"which it places in {shown(listed[tensor])}" if tensor in listed else "which it does not name"
                raise CheckpointError(f"{place}: {name} holds tensor {shown(tensor)}, {said}")
        found |= tensors
    lost = [tensor for tensor in listed if tensor not in found]
    if lost:
        raise CheckpointError(f"{place}: {listed[lost[0]]} lacks tensor {shown(lost[0])}")
    return found


def write_weights(folder: Path, tensors: Iterable[tuple[str, Tensor]], *, max_shard_bytes: int = SHARD_BYTES) -> None:
    """Write one file, or shards with an index where it would be larger than ``max_shard_bytes``.

    Each file appears whole or not at all, and all are on the disk when this returns. No more than one
    shard is in memory besides the model.
    """
    written: list[Path] = []
    listed: list[list[str]] = []
    total = 0
    try:
        for shard in _shards(tensors, max_shard_bytes):
            written.append(folder / f".model-{len(written)}.safetensors.{os.getpid()}")
            listed.append(list(shard))
            total += sum(map(_size, shard.values()))
            save_file(shard, written[-1], metadata={"format": "pt"})
            written[-1].chmod(0o644)  # as every other file; safetensors makes it readable by its owner only
            sync_file(written[-1])
        count = len(written)
        names = [SHARD.format(number=number + 1, count=count) for number in range(count)] if count > 1 else [WEIGHTS]
        for path, name in zip(written, names, strict=True):
            path.replace(folder / name)
        if count > 1:
            places = {tensor: name for name, shard_names in zip(names, listed, strict=True) for tensor in shard_names}
            write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))})
    finally:
        for path in written:
            path.unlink(missing_ok=True)
    _remove_others(folder, names)
    sync_folder(folder)


def _shards(tensors: Iterable[tuple[str, Tensor]], max_shard_bytes: int) -> Iterator[dict[str, Tensor]]:
    """As many tensors at a time as fit, at least one."""
    shard: dict[str, Tensor] = {}
    filled = 0
    for name, tensor in tensors:
        if shard and filled + _size(tensor) > max_shard_bytes:
            yield shard
            shard, filled = {}, 0
        shard[name] = tensor
        filled += _size(tensor)
    yield shard


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _remove_others(folder: Path, names: list[str]) -> None:
    """Take away the files of a model that was here before and was cut in another way."""
    if names == [WEIGHTS]:
        (folder / INDEX).unlink(missing_ok=True)
    for pattern in (WEIGHTS, SHARD.format(number=0, count=0).replace("0", "[0-9]")):
        for path in folder.glob(pattern):
            if path.name not in names:
                path.unlink()


def _read_index(path: Path) -> dict[str, str]:
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        if not listed or not all(isinstance(name, str) for name in listed.values()):
            raise CheckpointError(f"{path} is damaged: weight_map must name a file for each tensor")
    except RecursionError:
        raise CheckpointError(f"{path} is damaged: it is nested too deeply") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged: {error!r:.100}") from None
    found: dict[str, str] = listed
    return found


def _beside(index: Path, name: str) -> Path:
    """The file ``name``, which lies in the index's folder and nowhere else."""
    path = index.parent / name
    if Path(name).name != name or name in ("", "..") or "\0" in name or not stays(index.parent, path):
        raise CheckpointError(f"{index}: a file must lie in the same folder; got {name!r:.100}")
    return path


def open_file(path: Path, stack: ExitStack) -> dict[str, StoredTensor]:
    """The tensors of one file by name; it stays open as long as ``stack``.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    try:
        file = stack.enter_context(safe_open(path, framework="pt"))
    except FileNotFoundError:
        pickled = sorted(each.name for pattern in PICKLES for each in path.parent.glob(pattern))
        hint = f"; {pickled[0]} is a pickle, which can run code and is never loaded" if pickled else ""
        raise CheckpointError(f"{path} is missing{hint}") from None
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged: {shown(' '.join(str(error).split()))}") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from None
    return {name: StoredTensor(path, name, file) for name in file.keys()}  # noqa: SIM118 (it is no mapping)

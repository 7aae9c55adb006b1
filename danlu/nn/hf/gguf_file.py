"""A GGUF file: its metadata and where its tensors lie, every number checked against the length of the file.

The reader in the package ``gguf`` trusts the file: a forged count of array elements keeps it busy for ever.
This one reads the same form (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md) and leaves to the
package what it knows best: what the blocks of each quantised type mean.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from danlu.errors import CheckpointError, InputError
from danlu.optional import optional

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MOST_AXES = 4
LONGEST_NAME = 256
ALIGNMENT = 32
"""Tensors begin at multiples of it where the file says nothing else."""
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Number of a type of metadata -> what ``struct`` calls it."""
FLOAT32, STRING, ARRAY = 6, 8, 9


def gguf_package() -> Any:
    """The package ``gguf``.

    Raises:
        InputError: it is not installed.
    """
    return optional("gguf", purpose="reading a GGUF file")


@dataclass(frozen=True, slots=True)
class GGUFTensor:
    """One tensor of the file."""

    path: Path
    name: str
    shape: tuple[int, ...]
    kind: Any
    """A ``gguf.GGMLQuantizationType``."""
    blocks: memoryview
    """Its bytes in the file."""

    @property
    def dtype(self) -> torch.dtype:
        """The type of its values: float32 where they are quantised."""
        return {"F16": torch.float16, "BF16": torch.bfloat16}.get(self.kind.name, torch.float32)

    def read(self) -> Tensor:
        """The values in float32, copied.

        Raises:
            CheckpointError: the package ``gguf`` cannot turn this type into numbers.
        """
        block, size = gguf_package().GGML_QUANT_SIZES[self.kind]
        bytes_shape = (*self.shape[:-1], self.shape[-1] // block * size)
        raw = np.frombuffer(self.blocks, np.uint8).reshape(bytes_shape)
        try:
            with np.errstate(all="ignore"):  # a scale that is no number is found where all weights are looked at
                values = gguf_package().dequantize(raw, self.kind)
        except NotImplementedError:
            raise CheckpointError(f"{self.path}: {self.name} is of type {self.kind.name}, which is not read") from None
        return torch.from_numpy(np.array(values, dtype=np.float32).reshape(self.shape))


class GGUFFile:
    """The metadata by key and the tensors by name; numbers and strings are plain Python values, arrays are lists."""

    def __init__(self, path: Path, metadata: dict[str, Any], tensors: dict[str, GGUFTensor]) -> None:
        self.path, self.metadata, self.tensors = path, metadata, tensors

    @classmethod
    def open(cls, path: Path) -> GGUFFile:
        """Read all but the tensors themselves.

        Raises:
            InputError: there is no such file, or the package ``gguf`` is not installed.
            CheckpointError: it is no GGUF file, is damaged or of a version or type that is not read.
        """
        try:
            length = path.stat().st_size
            whole = np.memmap(path, np.uint8, "r").data if length else memoryview(b"")
        except (FileNotFoundError, IsADirectoryError):
            raise InputError(f"there is no file {path}") from None
        cursor = _Cursor(path, whole)
        count = _begin(cursor)
        metadata = _metadata(cursor, cursor.number("Q"))
        alignment = metadata.get("general.alignment", ALIGNMENT)
        if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
            raise CheckpointError(f"{path}: general.alignment must be a power of two; got {alignment!r}")
        tensors = _tensors(cursor, count, alignment)
        if metadata.get("split.count", 1) not in (0, 1):
            raise CheckpointError(f"{path} is one of {metadata['split.count']} parts; join them with llama-gguf-split")
        return cls(path, metadata, tensors)


class _Cursor:
    """A place in the file that only moves on as far as there are bytes."""

    def __init__(self, path: Path, whole: memoryview) -> None:
        self.path, self.whole, self.place = path, whole, 0

    def take(self, count: int) -> memoryview:
        """The next bytes."""
        if count > len(self.whole) - self.place:
            raise self.damaged(f"it ends at byte {len(self.whole)} in the middle of its header")
        self.place += count
        return self.whole[self.place - count : self.place]

    def number(self, code: str) -> Any:
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]

    def text(self) -> str:
        start = self.place
        try:
            return bytes(self.take(self.number("Q"))).decode()
        except UnicodeDecodeError:
            raise self.damaged(f"the text at byte {start} is no UTF-8") from None

    def name(self) -> str:
        """A text that can be shown."""
        start, name = self.place, self.text()
        if not name.isprintable() or len(name) > LONGEST_NAME:
            raise self.damaged(f"the name at byte {start} is none that can be shown")
        return name

    def value(self, kind: int) -> Any:
        """One value of metadata."""
        if kind == STRING:
            return self.text()
        if kind == FLOAT32:  # the shortest decimal that is this number: 1e-05, not 9.999999747378752e-06
            return float(str(np.float32(self.number("f"))))
        if kind in SCALARS:
            return self.number(SCALARS[kind])
        if kind != ARRAY:
            raise self.damaged(f"there is no type {kind} of metadata")
        kind, count = self.number("I"), self.number("Q")
        if kind == STRING:
            if count > len(self.whole) // 8:  # the length of a string takes so much
                raise self.damaged(f"it cannot hold {count} strings")
            return [self.text() for _ in range(count)]
        if kind not in SCALARS:
            raise self.damaged(f"there is no array of type {kind}")
        code = SCALARS[kind]
        return list(struct.unpack(f"<{count}{code}", self.take(count * struct.calcsize("<" + code))))

    def damaged(self, why: str) -> CheckpointError:
        return CheckpointError(f"{self.path} is damaged: {why}")


def _begin(cursor: _Cursor) -> int:
    """Check what every file begins with; return the number of tensors."""
    if bytes(cursor.whole[:4]) != MAGIC:
        raise CheckpointError(f"{cursor.path} is no GGUF file: it does not begin with {MAGIC.decode()}")
    cursor.take(4)
    version = cursor.number("I")
    if version not in VERSIONS:
        order = " (or a big-endian file)" if version & 0xFFFF == 0 else ""
        known = " or ".join(map(str, VERSIONS))
        raise CheckpointError(f"{cursor.path}: the version of GGUF must be {known}; got {version}{order}")
    count: int = cursor.number("Q")
    return count


def _metadata(cursor: _Cursor, count: int) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    for _ in range(count):
        key = cursor.name()
        if key in metadata:
            raise cursor.damaged(f"the key {key} stands there twice")
        metadata[key] = cursor.value(cursor.number("I"))
    return metadata


def _tensors(cursor: _Cursor, count: int, alignment: int) -> dict[str, GGUFTensor]:
    """The table of tensors, and where each lies behind it."""
    entries = [_entry(cursor) for _ in range(count)]
    start = -(-cursor.place // alignment) * alignment
    tensors: dict[str, GGUFTensor] = {}
    end = 0
    for name, shape, kind, offset in sorted(entries, key=lambda entry: entry[-1]):
        block, size = gguf_package().GGML_QUANT_SIZES[kind]
        if shape[-1] % block:
            raise cursor.damaged(f"{name} is of type {kind.name}, whose rows are multiples of {block}; got {shape[-1]}")
        if name in tensors:
            raise cursor.damaged(f"the tensor {name} stands there twice")
        if offset < end:
            raise cursor.damaged(f"the tensor {name} overlaps another one")
        end = offset + math.prod(shape) // block * size
        if start + end > len(cursor.whole):
            raise cursor.damaged(f"it ends at byte {len(cursor.whole)}, but {name} ends at {start + end}")
        tensors[name] = GGUFTensor(cursor.path, name, shape, kind, cursor.whole[start + offset : start + end])
    return tensors


def _entry(cursor: _Cursor) -> tuple[str, tuple[int, ...], Any, int]:
    """Name, shape (the slowest axis first, as everywhere but in the file), type, offset."""
    name, axes = cursor.name(), cursor.number("I")
    if not 1 <= axes <= MOST_AXES:
        raise cursor.damaged(f"{name} must have 1 to {MOST_AXES} axes; got {axes}")
    shape = tuple(cursor.number("Q") for _ in range(axes))[::-1]
    if 0 in shape:
        raise cursor.damaged(f"{name} must have axes of length 1 or more; got {list(shape)}")
    number = cursor.number("I")
    try:
        kind = gguf_package().GGMLQuantizationType(number)
    except ValueError:
        raise CheckpointError(f"{cursor.path}: {name} is of the unknown type {number}") from None
    return name, shape, kind, cursor.number("Q")

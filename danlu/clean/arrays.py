"""Arrays in a file that appears whole and is mapped, not read: what nobody looks at takes no memory (safetensors)."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from danlu.errors import InputError
from danlu.files import atomic_writing

Arrays = dict[str, NDArray[Any]]
"""By name."""

_DTYPES = {
    "BOOL": "?", "U8": "<u1", "U16": "<u2", "U32": "<u4", "U64": "<u8", "I8": "<i1", "I16": "<i2", "I32": "<i4",
    "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8", "C64": "<c8",
}  # fmt: skip
"""As safetensors names them: all that numpy has."""
_NAMES = {np.dtype(kind): name for name, kind in _DTYPES.items()}
_ABOUT = "__metadata__"


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], about: Mapping[str, str]) -> None:
    """Write arrays, and some words about them, which :func:`read_about` gives.

    As safetensors would, but from where each array lies to the file: one that is mapped is not read into memory.
    """
    header: dict[str, Any] = {_ABOUT: dict(about)}
    end = 0
    ordered = sorted(arrays.items(), key=lambda each: (-each[1].itemsize, each[0]))  # so that all are aligned
    for name, each in ordered:
        start, end = end, end + each.nbytes
        header[name] = {
            "dtype": _NAMES[each.dtype.newbyteorder("<")],
            "shape": each.shape,
            "data_offsets": [start, end],
        }
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with atomic_writing(path) as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for _, each in ordered:
            file.write(np.ascontiguousarray(each, each.dtype.newbyteorder("<")).data)


class Growing:
    """An array that grows along its first axis, in a file.

    Args:
        none: an array of its kind and of its other axes.
    """

    def __init__(self, path: Path, none: NDArray[Any]) -> None:
        self._path, self._dtype, self._shape, self._count = path, none.dtype, none.shape[1:], 0
        self._file = path.open("wb")

    def add(self, values: NDArray[Any]) -> None:
        """Append more of it."""
        assert (values.dtype, values.shape[1:]) == (self._dtype, self._shape), values.dtype
        self._file.write(np.ascontiguousarray(values).data)
        self._count += len(values)

    @contextmanager
    def closed(self) -> Iterator[NDArray[Any]]:
        """All of it, mapped; the file is gone once the ``with`` has ended."""
        self._file.close()
        shape = (self._count, *self._shape)
        try:
            yield (
                np.memmap(self._path, self._dtype, "r", shape=shape) if np.prod(shape) else np.zeros(shape, self._dtype)
            )
        finally:
            self._path.unlink()


def read_arrays(path: Path) -> Arrays:
    """The arrays of a file, mapped from it; they cannot be written.

    Raises:
        InputError: it cannot be read or is damaged.
    """
    header, start = _header(path)
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    arrays: Arrays = {}
    for name, entry in header.items():
        if name != _ABOUT:
            dtype, shape = np.dtype(_DTYPES[entry["dtype"]]), entry["shape"]
            values = np.frombuffer(content, dtype, int(np.prod(shape)), start + entry["data_offsets"][0])
            arrays[name] = values.reshape(shape)
    return arrays


def read_about(path: Path) -> dict[str, str]:
    """The words about the arrays of a file.

    Raises:
        InputError: it cannot be read or is damaged.
    """
    about: dict[str, str] = _header(path)[0].get(_ABOUT, {})
    return about


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """What a file of safetensors says of its arrays, and where they begin."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header: dict[str, Any] = json.loads(file.read(min(length, path.stat().st_size)))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}") from None
    return header, 8 + length

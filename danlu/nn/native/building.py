"""Compiles a C++ file of this package, once for each machine and each way of it, and loads it."""

from __future__ import annotations

import functools
import re
from ctypes import CDLL, c_void_p
from pathlib import Path

from torch import Tensor

FOLDER = Path(__file__).parent


@functools.cache
def load(name: str, **numbers: int) -> CDLL:
    """The library that ``name`` makes where the ``numbers`` are defined.

    Torch's own builder is asked, so that flags, threads and the cache are those of everything else that it compiles.

    Raises:
        RuntimeError: there is no compiler, or it fails; torch's error tells which.
    """
    from torch._inductor.codecache import CppCodeCache  # loads the compiler, which takes seconds

    defined = "".join(f"#define {key} {value}\n" for key, value in numbers.items())
    library: CDLL = CppCodeCache.load(defined + _whole(name))
    return library


def _whole(name: str) -> str:
    """The file with those that it includes in their places, so that torch's cache knows when one has changed."""
    return re.sub(r'#include "(.*)"', lambda found: _whole(found[1]), (FOLDER / name).read_text(encoding="utf-8"))


def place(x: Tensor | None) -> c_void_p:
    """Where its numbers are; null for None."""
    return c_void_p(None if x is None else x.data_ptr())

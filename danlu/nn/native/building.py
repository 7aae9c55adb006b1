"""Compiles a C++ file of this package, once for each machine and each way of it, and loads it."""

from __future__ import annotations

import functools
import re
from ctypes import CDLL, c_void_p
from pathlib import Path

from torch import Tensor

from danlu.log import say
from danlu.machine import cpp_compiler
from danlu.nn.speed import first_line

FOLDER = Path(__file__).parent


@functools.cache
def load(name: str, **numbers: int) -> CDLL:
    """The library that ``name`` makes where the ``numbers`` are defined.

    Torch's own builder is asked, so that flags, threads and the cache are those of everything else that it compiles.

    Raises:
        RuntimeError: there is no compiler, or it fails; torch's error tells which.
        OSError: the library cannot be loaded, or the cache not be written.
    """
    from torch._inductor.codecache import CppCodeCache  # loads the compiler, which takes seconds

    defined = "".join(f"#define {key} {value}\n" for key, value in numbers.items())
    library: CDLL = CppCodeCache.load(defined + _whole(name))
    return library


@functools.cache
def can_load(name: str, **numbers: int) -> bool:
    """Whether :func:`load` gives it; once, a line says why it does not, where there is a compiler."""
    if cpp_compiler() is None:
        return False
    try:
        load(name, **numbers)
    except (RuntimeError, OSError) as error:
        say(f"{name} is not used, for it cannot be compiled or loaded: {_cause(error)}")
        return False
    return True


def _cause(error: Exception) -> str:
    """In a line; the compiler's own first one about an error, where it says something."""
    told = getattr(error, "output", "")
    return next((line.strip() for line in str(told).splitlines() if "error" in line), first_line(error))


def _whole(name: str, seen: set[str] | None = None) -> str:
    """The file with those that it includes in their places, each once, so that torch's cache knows when one changed."""
    seen = set() if seen is None else seen
    seen.add(name)
    text = (FOLDER / name).read_text(encoding="utf-8")
    return re.sub(r'#include "(.*)"', lambda found: "" if found[1] in seen else _whole(found[1], seen), text)


def place(x: Tensor | None) -> c_void_p:
    """Where its numbers are; null for None."""
    return c_void_p(None if x is None else x.data_ptr())

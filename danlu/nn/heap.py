"""What a process keeps: freed memory, so that no step fetches its pages from the kernel anew, and few kernels."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
from collections.abc import Callable

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of ``malloc.h``."""
THRESHOLDS = (2**31 - 1, 2**25)
"""Sizes from which blocks are mapped one by one, the best first; older versions of glibc refuse more than 32 MiB."""
NEVER_TRIM = 2**31 - 1
KERNELS = 256
"""More than a step has sizes of products, all its layers together."""
CAPACITIES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
"""Of what oneDNN keeps, and of what torch keeps of it; both by themselves 1,024."""


def keep_freed_memory() -> bool:
    """Tell glibc's ``malloc`` to hold on to large blocks; False where it refuses or the C library is another.

    Large tensors are otherwise mapped and unmapped at every step: at 14 M parameters and 4,096 tokens
    that was some 45,000 page faults a step. A process that embeds texts is faster by a sixth. Where glibc
    takes no more than 32 MiB, blocks above that are mapped as ever.
    """
    library = _glibc()
    return library is not None and set_thresholds(library.mallopt)


def give_back_freed_memory() -> bool:
    """Give whole pages that are free now back to the system; False where the C library is another.

    For once much has been freed that was needed before the first step alone: what comes later is of other sizes and
    would lie between. Weights that became narrower were 240 MiB of a process of 2 GiB.
    """
    library = _glibc()
    return library is not None and library.malloc_trim(ctypes.c_size_t(0)) == 1


def keep_few_kernels() -> None:
    """Have oneDNN keep ``KERNELS`` kernels, where the environment does not say otherwise.

    It makes one, of some 0.6 MB, for each size of a product of bfloat16. Where every row has a length of its own hardly
    any is used again once the row is done, and a process would grow by 650 MB. To be called before the first product.
    """
    for name in CAPACITIES:
        os.environ.setdefault(name, str(KERNELS))


def _glibc() -> ctypes.CDLL | None:
    """The C library, where it is glibc."""
    name = ctypes.util.find_library("c")
    library = ctypes.CDLL(name) if name else None
    return library if library is not None and hasattr(library, "gnu_get_libc_version") else None


def set_thresholds(mallopt: Callable[[int, int], int]) -> bool:
    """Map no block that may lie on the heap, and never give the heap's end back; whether both were taken.

    The second alone would do harm: with either set by hand, glibc no longer raises the first by itself.
    """
    mapped = any(mallopt(M_MMAP_THRESHOLD, size) == 1 for size in THRESHOLDS)
    return mapped and mallopt(M_TRIM_THRESHOLD, NEVER_TRIM) == 1

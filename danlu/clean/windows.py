"""Hashes of all windows of a text, and the few of them that two texts with a long piece in common are sure to share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 16
"""Windows that are worked on at once, so that the numbers stay in the cache and memory does not grow with a text."""
_A, _B, _C = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93), np.uint64(0xC2B2AE3D27D4EB4F)
_HALF = np.uint64(32)

Merge = Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]


def codes(text: str) -> NDArray[np.uint32]:
    """The characters of a text as numbers (characters,)."""
    return np.frombuffer(text.encode("utf-32-le", errors="surrogatepass"), "<u4")


def window_hashes(characters: NDArray[np.uint32], width: int) -> NDArray[np.uint64]:
    """A hash of each run of so many characters: (characters - width + 1,); equal runs have equal ones."""
    hashes = characters.astype(np.uint64)
    hashes += _A
    hashes *= _B
    hashes ^= hashes >> _HALF
    return _windows(hashes, width, _mixed) * _C


def anchors(characters: NDArray[np.uint32], width: int, window: int) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Where runs of ``width`` characters begin whose hash is the least of ``window`` runs in a row, and their hashes.

    Two texts with ``width + window - 1`` characters in common have an anchor of those in common (winnowing; Schleimer,
    Wilkerson and Aiken 2003). About 2 of ``window + 1`` runs are anchors; of equal ones that are the least all are.
    """
    places, hashed = [np.empty(0, np.int64)], [np.empty(0, np.uint64)]
    for start in range(0, len(characters) - (width + window - 1) + 1, BLOCK):
        hashes = window_hashes(characters[start : start + BLOCK + width + window - 2], width)
        edge = np.zeros(window - 1, np.uint64)
        least = np.concatenate([edge, _windows(hashes, window, np.minimum), edge])
        found = np.flatnonzero(_windows(least, window, np.maximum) == hashes)
        places.append(found + start)
        hashed.append(hashes[found])
    joined, index = np.unique(np.concatenate(places), return_index=True)  # two blocks may find the same
    return joined, np.concatenate(hashed)[index]


def _mixed(left: NDArray[np.uint64], right: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mixed: NDArray[np.uint64] = left * _A
    mixed += right
    mixed ^= mixed >> _HALF
    mixed *= _B
    mixed ^= mixed >> _HALF
    return mixed


def _windows(values: NDArray[Any], width: int, merge: Merge) -> NDArray[Any]:
    """Merge each run of ``width`` values: by runs of 1, 2, 4 …, the last two of which may overlap."""
    size = 1
    while 2 * size <= width:
        values, size = merge(values[:-size], values[size:]), 2 * size
    rest = width - size
    return merge(values[:-rest], values[rest:]) if rest else values

"""SentencePiece's rules for characters: are they such that no text leads out of them?

A map is the size of a trie, the trie as a double array of darts-clone (Aoe 1989), and the texts that its leaves point
at, each ended by a NUL. The tokenizers library follows the array without looking at its bounds, and panics.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np


def check_charsmap(content: bytes) -> bytes:
    """The map, unchanged.

    Raises:
        ValueError: a text could lead out of the trie, a leaf points at no text, or the texts are no UTF-8.
    """
    size = int.from_bytes(content[:4], "little")
    trie, texts = content[4 : 4 + size], np.frombuffer(content[4 + size :], dtype=np.uint8)
    content[4 + size :].decode()
    if len(content) < 4 or size < 4 or size % 4 or len(trie) < size:
        raise ValueError(f"the trie of its precompiled_charsmap must have {size:,} bytes; it has {len(trie):,}")
    units = np.frombuffer(trie, dtype="<u4").astype(np.int64)
    # A unit: a leaf's value has the highest bit; else 22 bits of offset, 1 that scales it, 1 for a leaf, 8 of label.
    nodes = np.flatnonzero(units >> 31 == 0)
    nodes = np.union1d(nodes, [0])  # the root is never asked what it is
    children = nodes ^ (units[nodes] >> 10 << ((units[nodes] & 0x200) >> 6))
    if ((children | 0xFF) >= len(units)).any():
        raise ValueError("the trie of its precompiled_charsmap is damaged: a node has children outside of it")
    values = units[children[units[nodes] & 0x100 != 0]] & 0x7FFFFFFF
    if (values > len(texts)).any() or (texts[values[values < len(texts)]] & 0xC0 == 0x80).any():
        raise ValueError("its precompiled_charsmap is damaged: a leaf points at no text")
    return content


def charsmaps(value: Any) -> Iterator[str]:
    """All that ``precompiled_charsmap`` names anywhere in a normaliser of ``tokenizer.json``, base64."""
    if isinstance(value, dict):
        found = value.get("precompiled_charsmap")
        if isinstance(found, str):
            yield found
        for each in value.values():
            yield from charsmaps(each)
    elif isinstance(value, list):
        for each in value:
            yield from charsmaps(each)

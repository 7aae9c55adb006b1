"""MinHash signatures of texts in any language: numbers of which two texts share the share of pieces that they share.

A text is the set of its shingles: nine bytes of UTF-8 from where a character begins, of its letters and digits alone
and in lower case. These are nine letters of English or three of Chinese, about as telling, with or without spaces
between words. The signature is a one-permutation hash (Li, Owen and Zhang 2012), whose empty entries further rounds
fill, as in fast similarity sketching (Dahlgaard, Knudsen and Thorup 2017, arXiv:1704.04370); what eight rounds leave
empty is copied from other entries (Shrivastava 2017, arXiv:1703.04664). Two signatures agree in an entry with about the
chance of the two sets' Jaccard index. A signature depends on the text alone, and on no library's version.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SHINGLE = 9
"""Bytes of a shingle; what is shorter is one, filled up with zeros."""
_ROUNDS = 8
_BLOCK = 1 << 15  # bytes that are hashed at once, so that the numbers stay in the cache
_NONE = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_A, _B, _C = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93), np.uint64(0xC2B2AE3D27D4EB4F)
_HALF = np.uint64(32)
_NO_LETTERS = bytes(code for code in range(128) if not chr(code).isalnum())
_SPACE = 0x20


def letters(text: str) -> bytes:
    """The letters and digits of a text in lower case, in UTF-8.

    White space, control characters and punctuation are left out: those of ASCII, and U+2000 to U+207F, U+3000 to U+303F
    and U+FF00 to U+FF3F but for full-width letters, which is what Chinese and typography use. Other marks stay: they
    make shingles like any other, and cost nothing but a little.
    """
    if text.isascii():
        return text.lower().encode().translate(None, _NO_LETTERS)
    content = bytearray(text.lower().encode(errors="surrogatepass"))
    at = np.frombuffer(content, np.uint8)
    lead = at[:-2]
    place = np.flatnonzero((lead == 0xE2) | (lead == 0xE3) | (lead == 0xEF))
    first, second, third = at[place], at[place + 1], at[place + 2]
    general = (first == 0xE2) & (second <= 0x81)
    chinese = (first == 0xE3) & (second == 0x80)
    # U+FF00 to U+FF3F: full-width marks, but its digits (90 to 99) and its capitals, which are in lower case by now.
    wide = (first == 0xEF) & (second == 0xBC) & ((third < 0x90) | (third > 0x99))
    for offset in range(3):
        at[place[general | chinese | wide] + offset] = _SPACE
    return bytes(content.translate(None, _NO_LETTERS))


def signatures(texts: Sequence[str], entries: int) -> NDArray[np.uint16]:
    """The signatures of texts: (texts, entries), 16 bits an entry; all zeros where a text has no letter or digit."""
    contents = [content.ljust(SHINGLE, b"\0") if content else b"" for content in map(letters, texts)]
    least = np.full((len(texts), entries), _NONE)
    waiting = np.flatnonzero([bool(content) for content in contents])
    for number in range(_ROUNDS):
        if not len(waiting):
            break
        chosen = [contents[each] for each in waiting.tolist()]
        found = _round(b"".join(chosen), [len(content) for content in chosen], entries, number)
        if number:
            before = least[waiting]
            np.copyto(found, before, where=before != _NONE)
        least[waiting] = found
        waiting = waiting[(found == _NONE).any(axis=1)]
    least[waiting] = _filled(least[waiting])
    entry = least.astype(np.uint16)  # the low bits, which the order of the numbers says nothing about
    entry[[not content for content in contents]] = 0
    return entry


def _round(joined: bytes, lengths: Sequence[int], entries: int, number: int) -> NDArray[np.uint64]:
    """The least hash in each entry: (texts, entries). Every shingle falls into one entry, by its hash in this round."""
    least = np.full(len(lengths) * entries + 1, _NONE)  # the last one for shingles that cross from text to text
    ends = np.cumsum(lengths)
    for start in range(0, len(joined) - SHINGLE + 1, _BLOCK):
        block = joined[start : start + _BLOCK + SHINGLE - 1]
        windows = len(block) - SHINGLE + 1
        hashes = _hashes(block, number)
        first, last = np.searchsorted(ends, [start, start + windows - 1], side="right").tolist()
        inside = np.diff(np.clip(ends[first : last + 1], start, start + windows), prepend=start)
        entry = _entries(hashes, entries)
        entry += np.repeat(np.arange(first, last + 1) * entries, inside)
        crossing = (ends[first : last + 1, None] - np.arange(1, SHINGLE)).ravel() - start
        entry[crossing[(crossing >= 0) & (crossing < windows)]] = len(least) - 1
        if not block.isascii():
            begins = np.flatnonzero((np.frombuffer(block, np.uint8, windows) & 0xC0) != 0x80)
            hashes, entry = hashes[begins], entry[begins]
        np.minimum.at(least, entry, hashes)
    return least[:-1].reshape(len(lengths), entries)


def _hashes(block: bytes, number: int) -> NDArray[np.uint64]:
    """The hashes of all windows of SHINGLE bytes."""
    eight = np.array(np.ndarray((len(block) - 7,), "<u8", block, strides=(1,)))
    hashes: NDArray[np.uint64] = eight[1:] * _A
    eight *= _B
    hashes += eight[:-1]
    hashes += np.uint64(number * int(_C) & int(_NONE))
    hashes ^= hashes >> _HALF
    hashes *= _B
    hashes ^= hashes >> _HALF
    hashes *= _C
    hashes ^= hashes >> _HALF
    return hashes


def _entries(hashes: NDArray[np.uint64], entries: int) -> NDArray[np.int64]:
    """Which entry each falls into, by its high bits, so that those of one entry lie beside each other."""
    return (((hashes >> _HALF) * np.uint64(entries)) >> _HALF).view(np.int64)


def _filled(least: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The same with what is empty copied from what is not: from the first such in an order that all texts share."""
    empty = least == _NONE
    row, entry = np.nonzero(empty)
    attempt = 0
    while len(row):
        attempt += 1
        draws = np.random.Philox(key=attempt)  # which no version of numpy changes
        order = np.asarray(draws.random_raw(least.shape[1]) % np.uint64(least.shape[1])).astype(np.int64)
        donors = order[entry]
        full = ~empty[row, donors]
        least[row[full], entry[full]] = least[row[full], donors[full]]
        row, entry = row[~full], entry[~full]
    return least

"""Whole documents that are the same, character by character."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from danlu.clean.duplicates import WHOLE, Duplicates, Sketch, Sketched, write_cuts
from danlu.clean.repeats import Dealt, Places, Repeats, by_part, in_order

_BYTES = 16


class Exact(Duplicates):
    """Drop every document whose text an earlier one has; 16 bytes a document are compared (BLAKE2b)."""

    reason: ClassVar[str] = "exact duplicate"

    def sketch(self, texts: Sequence[str]) -> Sketch:
        """``key`` (documents, 2): the hash of each."""
        return {"key": digests(texts)}

    def decide(self, parts: Sequence[Sketched], out: Path) -> list[Path]:
        """Drop all but the first document of each key."""
        places, files = Places(parts), []
        share = self.memory // 2
        with (
            Repeats(out / "keys", rows=places.total, memory=share, width=2) as repeats,
            Dealt(out / "copies", files=len(parts), width=2, memory=share) as copies,
        ):
            for number, part in enumerate(parts):
                standing = np.flatnonzero(part.standing())
                keys = part.load()["key"][standing]
                keys ^= self.salt(part)
                repeats.add(keys, places.of(number, standing))
            by_part(repeats, places, copies)
            for number in range(len(parts)):
                copied, firsts = in_order(copies, number)
                documents = copied - places.starts[number]
                files.append(
                    write_cuts(out, number, {"document": documents, "start": 0, "end": WHOLE, "first": firsts})
                )
        return files


def digests(texts: Sequence[str]) -> np.ndarray[tuple[int, int], np.dtype[np.uint64]]:
    """Hashes of texts of 16 bytes: (texts, 2)."""
    hashes = (hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=_BYTES).digest() for text in texts)
    return np.frombuffer(b"".join(hashes), "<u8").reshape(-1, 2)

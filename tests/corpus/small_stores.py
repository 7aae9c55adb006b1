"""Small stores in many shards, and what of them is in a cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from danlu.corpus.store_writer import StoreWriter
from danlu.text.document import Document

SHARD = 1000
BYTES = 2 * SHARD


def write(folder: Path, *, vocab_size: int = 500, documents: int = 30, tokenizer: str | None = None) -> None:
    chance = np.random.default_rng(1)
    about: Any = {"vocab_size": vocab_size, "eot": 0, "tokenizer": tokenizer}
    with StoreWriter(folder, **about, marks=["words"], shard_tokens=SHARD) as writer:
        for number in range(documents):
            ids = chance.integers(1, vocab_size, 200).astype("<u2")
            meta = {"language": "en", "source": "a"}
            writer.add(Document(f"a#{number}", "text", meta), ids, (ids & 1).astype(np.uint8))


def cached(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache").glob("*/*.bin"))

"""What writes a token store (store.py): document by document, and what makes its columns one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from danlu.corpus import table
from danlu.corpus.description import write_description
from danlu.corpus.first_sides import FILE as SIDES
from danlu.corpus.first_sides import KIND, SidesWriter
from danlu.corpus.hashes import write_hashes
from danlu.corpus.lengths import FILES as LENGTH_FILES
from danlu.corpus.lengths import write_lengths
from danlu.corpus.mapped import SHARD_TOKENS, Array, ShardWriter, mapped, shard_names
from danlu.corpus.marks import BITS, Marks, Unit, all_bits
from danlu.corpus.offsets import FILE as OFFSETS
from danlu.corpus.offsets import OffsetsWriter
from danlu.corpus.store import token_dtype
from danlu.corpus.table import TableWriter
from danlu.text.document import Document

KEPT_STARTS = 1 << 16


class ColumnsWriter:
    """Appends documents to the files of a store; where the ``with`` has ended, they are whole.

    Args:
        marks: what the marks of the documents tell the beginnings of; nothing where there are none.
        sep: the token between the sides of a pair.
        shard_tokens: tokens of a file.
        tokenizer: the identity of the one that the tokens are of, where there is one.
    """

    def __init__(
        self, folder: Path, *, vocab_size: int, eot: int, marks: Sequence[Unit] = (), sep: int | None = None,
        shard_tokens: int = SHARD_TOKENS, tokenizer: str | None = None,
    ) -> None:  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.about: dict[str, Any] = {
            "dtype": token_dtype(vocab_size).str,
            "vocab_size": vocab_size,
            "eot": eot,
            "shard_tokens": shard_tokens,
        }
        if tokenizer is not None:
            self.about["tokenizer"] = tokenizer
        if marks:
            self.about["marks"] = [unit for unit in BITS if unit in marks]
        self._sep = sep
        self._every_mark = np.array([all_bits(marks)], dtype=np.uint8)
        self._tokens = ShardWriter(folder, "tokens", self.about["dtype"], shard_tokens)
        self._marks = ShardWriter(folder, "marks", np.uint8, shard_tokens) if marks else None
        self._table = TableWriter(folder)
        self._sides = SidesWriter(folder)
        self._offsets = OffsetsWriter(folder)
        self._starts_file = (folder / "starts.bin").open("wb")
        self._starts = [0]
        self._documents = 0
        self._eot = np.array([eot], dtype=self.about["dtype"])
        self._tokens.write(self._eot)
        self._write_marks(self._every_mark[:0])

    def add(self, document: Document, ids: Sequence[int] | Array, marks: Marks | None = None) -> None:
        """Append one document, its eot behind it.

        Args:
            marks: ``[tokens]`` what each of ``ids`` begins, in a store that has marks.

        Raises:
            OverflowError: an id is not within the vocabulary's numbers.
        """
        kept = _narrow(ids, self._tokens.dtype)
        assert (marks is None) == (self._marks is None) and (marks is None or len(marks) == len(kept))
        self._tokens.write(kept)
        self._tokens.write(self._eot)
        self._write_marks(self._every_mark[:0] if marks is None else marks)
        self._starts.append(self._tokens.length - 1)
        self._documents += 1
        if len(self._starts) == KEPT_STARTS:
            self._flush()
        self._table.add(
            document.id, language=document.meta.get("language", "und"), size=len(document.text.encode()),
            source=document.meta.get("source", ""),
        )  # fmt: skip
        self._offsets.add(document)
        pair = len(document.sides) > 1
        self._sides.add(kept, self._sep if pair else None)
        if pair:
            self.about["sep"] = self._sep

    def known(self) -> dict[str, Any]:
        """What ``store.json`` says of these documents: all but the files."""
        counts = {"tokens": self._tokens.length, "documents": self._documents}
        return {**counts, **self.about, "languages": [*self._table.languages]}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._close_files()

    def _close_files(self) -> None:
        self._flush()
        for file in (self._tokens, self._marks, self._table, self._starts_file, self._sides, self._offsets):
            if file is not None:
                file.close()

    def _flush(self) -> None:
        self._starts_file.write(np.array(self._starts, dtype="<i8").tobytes())
        self._starts = []

    def _write_marks(self, marks: Marks) -> None:
        if self._marks is not None:
            self._marks.write(np.asarray(marks, dtype=np.uint8))
            self._marks.write(self._every_mark)


class StoreWriter(ColumnsWriter):
    """Appends documents to a store, which is readable once :meth:`close` has run or the ``with`` has ended well."""

    def close(self) -> None:
        """Write the borders, the documents by length, the hashes and ``store.json``."""
        self._close_files()
        finish(self.folder, self.known())

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._close_files()


def finish(
    folder: Path,
    about: dict[str, Any],
    known: Mapping[str, bytes] = MappingProxyType({}),
    beside: Sequence[str] = (),
) -> None:
    """Make the columns in ``folder`` a store: write the documents by length, the hashes and ``store.json``.

    Args:
        about: what that says of the documents.
        known: the hashes of the blocks of some of the files.
        beside: other files in the folder that belong to the store.
    """
    pairs = (folder / SIDES).exists()
    write_lengths(folder, mapped(folder / "starts.bin", "<i8"), mapped(folder / SIDES, KIND) if pairs else None)
    kinds = ("tokens", "marks") if "marks" in about else ("tokens",)
    shards = [name for kind in kinds for name in shard_names(kind, about["tokens"], about["shard_tokens"])]
    columns = ["starts.bin", *table.FILES, *LENGTH_FILES, *([SIDES] if pairs else [])]
    columns += [*([OFFSETS] if (folder / OFFSETS).exists() else []), *beside]
    files, digest = write_hashes(folder, [*shards, *columns], known)
    write_description(folder, {**about, "files": files, "hashes": digest})


def _narrow(ids: Sequence[int] | Array, dtype: np.dtype[Any]) -> Array:
    """Ids in the numbers of a store.

    Raises:
        OverflowError: one does not fit.
    """
    if isinstance(ids, np.ndarray) and ids.dtype == dtype:
        return ids
    found: Array = np.fromiter(ids, dtype=dtype, count=len(ids)) if not isinstance(ids, np.ndarray) else ids
    if found.dtype != dtype:
        if len(found) and (int(found.max()) > np.iinfo(dtype).max or int(found.min()) < 0):
            raise OverflowError(f"an id of {int(found.max())} does not fit {dtype}")
        found = found.astype(dtype)
    return found

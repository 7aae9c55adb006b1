"""The token store: one memory-mapped stream of token ids with its documents' borders.

The stream is ``eot doc1 eot doc2 eot … docN eot``: every token but the first is a target, each
document starts behind an end-of-text token and its end is learned. A store is a folder:

    tokens.bin       the stream, little-endian uint16 (uint32 for vocabularies above 65,536)
    starts.bin       little-endian int64 [documents + 1]: where each document's leading eot stands; last, the final eot
    documents.jsonl  id, language, bytes, source of each document
    marks.bin        where pack.marks asks for it: uint8 [tokens], what each token begins (marks.py)
    store.json       tokens, documents, vocab_size, eot, dtype, and which marks there are
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from danlu.corpus.marks import BITS, Marks, Unit, all_bits
from danlu.errors import InputError
from danlu.files import read_json, read_jsonl, write_json
from danlu.text.document import Document


@dataclass(frozen=True)
class TokenStore:
    """A store on disk, open for reading; any slice is one read."""

    tokens: np.ndarray[Any, Any]
    """``[tokens]`` memory-mapped ids."""
    starts: np.ndarray[Any, Any]
    """``[documents + 1]`` int64."""
    documents: list[dict[str, Any]]
    vocab_size: int
    eot: int
    marks: Marks | None = None
    """``[tokens]`` memory-mapped bits of what each token begins; None where the store has none."""
    marked: tuple[Unit, ...] = ()
    """What ``marks`` tell the beginnings of; the bits of others are 0."""
    sep: int | None = None
    """The token between the sides of a pair, which stands nowhere else; None where there are no pairs."""

    @classmethod
    def open(cls, folder: Path) -> TokenStore:
        """The store in ``folder``.

        Raises:
            InputError: a file is missing, cut or not what ``store.json`` says; the tokens themselves are not read.
        """
        about = read_json(folder / "store.json")
        if about is None:
            raise InputError(f"no token store in {folder}: store.json is missing or damaged")
        try:
            tokens = np.memmap(folder / "tokens.bin", dtype=about["dtype"], mode="r")
            starts = np.fromfile(folder / "starts.bin", dtype="<i8")
            documents = read_jsonl(folder / "documents.jsonl")
            marked = tuple(unit for unit in BITS if unit in about.get("marks", ()))
            marks = np.memmap(folder / "marks.bin", dtype=np.uint8, mode="r") if marked else None
            store = cls(
                tokens, starts, documents, int(about["vocab_size"]), int(about["eot"]), marks, marked, about.get("sep")
            )
            counts = int(about["tokens"]), int(about["documents"])
        except FileNotFoundError as error:
            raise InputError(f"the token store in {folder} is damaged: {error.filename} is missing") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"the token store in {folder} is damaged: {error!r}") from None
        if counts != (len(tokens), len(documents)) or not store._borders_fit() or not store._marks_fit(about):
            raise InputError(f"the token store in {folder} is damaged: its files do not fit store.json")
        return store

    def _borders_fit(self) -> bool:
        """Whether ``starts`` can be what it should be: an eot before each document and one at the end."""
        starts, last = self.starts, len(self.tokens) - 1
        if len(starts) != len(self.documents) + 1:
            return False
        rising = starts[0] == 0 and starts[-1] == last and bool((starts[1:] > starts[:-1]).all())
        return rising and bool(self.tokens[0] == self.eot == self.tokens[-1])

    def _marks_fit(self, about: dict[str, Any]) -> bool:
        """Whether there is a byte of marks for each token, of units that are known, and the ends have every mark."""
        if list(self.marked) != about.get("marks", []):
            return False
        if self.marks is None:
            return True
        every = all_bits(self.marked)
        return len(self.marks) == len(self.tokens) and bool(self.marks[0] == every == self.marks[-1])

    @cached_property
    def by_language(self) -> dict[str, np.ndarray[Any, np.dtype[np.int64]]]:
        """Numbers of the documents in each language, rising."""
        languages = np.array([document["language"] for document in self.documents])
        return {str(language): np.flatnonzero(languages == language) for language in np.unique(languages)}

    @property
    def border(self) -> int | None:
        """The token that parts documents; None in a store of one document, whose rows need no borders."""
        return self.eot if len(self.documents) > 1 else None

    @property
    def targets(self) -> int:
        """Tokens that are predicted: all but the first."""
        return len(self.tokens) - 1


class StoreWriter:
    """Appends documents to a store, which is readable once :meth:`close` has run or the ``with`` has ended well.

    Args:
        marks: what the marks of the documents tell the beginnings of; nothing where there are none.
        sep: the token between the sides of a pair.
    """

    def __init__(
        self, folder: Path, *, vocab_size: int, eot: int, marks: Sequence[Unit] = (), sep: int | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.about: dict[str, Any] = {
            "dtype": "<u2" if vocab_size <= 2**16 else "<u4",
            "vocab_size": vocab_size,
            "eot": eot,
        }
        if marks:
            self.about["marks"] = [unit for unit in BITS if unit in marks]
        self._sep = sep
        self._every_mark = all_bits(marks)
        self._marks = (folder / "marks.bin").open("wb") if marks else None
        self._tokens = (folder / "tokens.bin").open("wb")
        self._documents = (folder / "documents.jsonl").open("w", encoding="utf-8")
        self._starts = [0]
        self._append([eot])
        self._append_marks([])

    def add(self, document: Document, ids: Iterable[int], marks: Marks | None = None) -> None:
        """Append one document, its eot behind it.

        Args:
            marks: ``[tokens]`` what each of ``ids`` begins, in a store that has marks.
        """
        count = self._append([*ids, self.about["eot"]])
        self._starts.append(self._starts[-1] + count)
        assert (marks is None) == (self._marks is None) and (marks is None or len(marks) == count - 1)
        self._append_marks([] if marks is None else marks)
        known = {
            "id": document.id,
            "language": document.meta.get("language", "und"),
            "bytes": len(document.text.encode()),
            "source": document.meta.get("source", ""),
        }
        if len(document.sides) > 1:
            self.about["sep"] = self._sep
        self._documents.write(json.dumps(known, ensure_ascii=False) + "\n")

    def close(self) -> None:
        """Write the borders and ``store.json``."""
        self._close_files()
        (self.folder / "starts.bin").write_bytes(np.array(self._starts, dtype="<i8").tobytes())
        counts = {"tokens": self._starts[-1] + 1, "documents": len(self._starts) - 1}
        write_json(self.folder / "store.json", {**counts, **self.about})

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._close_files()

    def _close_files(self) -> None:
        for file in (self._tokens, self._documents, self._marks):
            if file is not None:
                file.close()

    def _append(self, ids: list[int]) -> int:
        self._tokens.write(np.array(ids, dtype=self.about["dtype"]).tobytes())
        return len(ids)

    def _append_marks(self, marks: Marks | list[int]) -> None:
        if self._marks is not None:
            self._marks.write(np.array([*marks, self._every_mark], dtype=np.uint8).tobytes())

"""A document, and the shards that a folder of documents is kept in.

A shard is ``documents-00000.jsonl``: UTF-8, one ``{"id", "text", "meta"}`` a line, in order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from danlu.errors import InputError

SHARD_BYTES = 256_000_000
"""A shard is closed before it would grow beyond this; only a single larger document makes a larger one."""


TARGET_START = "target_start"
"""The entry of ``meta`` that a pair has: at which character of its text the target begins."""


@dataclass(slots=True)
class Document:
    """One text with a stable id.

    ``id`` is the file's path below its source, ``#`` and the number of the record in that file. ``meta``
    has at least ``source`` (that path) and, once cleaned, ``language`` (ISO 639-1, ``und`` if unknown).
    """

    id: str
    text: str
    meta: dict[str, str] = field(default_factory=dict)

    @property
    def sides(self) -> tuple[str, ...]:
        """The text, or of a pair its source and its target."""
        if TARGET_START not in self.meta:
            return (self.text,)
        start = int(self.meta[TARGET_START])
        return self.text[: start - 1], self.text[start:]

    def line(self) -> bytes:
        """Its line in a shard."""
        record = {"id": self.id, "text": self.text, "meta": self.meta}
        return json.dumps(record, ensure_ascii=False).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Document:
        """The document that :meth:`line` wrote.

        Raises:
            ValueError, KeyError, TypeError: it is no such line.
        """
        record = json.loads(line)
        return cls(id=record["id"], text=record["text"], meta=record["meta"])


def main_language(document: Document) -> str | None:
    """Its language without script or region: ``zh`` of ``zh-Hant``; None where nobody has said."""
    language = document.meta.get("language")
    return None if language is None else language.split("-")[0]


def pair(source: str, target: str) -> tuple[str, dict[str, str]]:
    """The text of a document that is a pair, a line end between its sides, and what ``meta`` says of it."""
    return f"{source}\n{target}", {TARGET_START: str(len(source) + 1)}


class DocumentWriter:
    """Writes documents to numbered shards in ``folder``; use it as a context manager."""

    def __init__(self, folder: Path, *, shard_bytes: int = SHARD_BYTES) -> None:
        self._folder = folder
        self._shard_bytes = shard_bytes
        self._shards = 0
        self._written = 0
        self._file: BinaryIO | None = None

    def write(self, document: Document) -> None:
        """Append one document."""
        line = document.line()
        if self._file is None or self._written + len(line) > self._shard_bytes:
            self.close()
            self._file = (self._folder / f"documents-{self._shards:05d}.jsonl").open("wb")
            self._shards += 1
            self._written = 0
        self._file.write(line)
        self._written += len(line)

    def close(self) -> None:
        """Close the shard that is open."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> DocumentWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_documents(folder: Path) -> Iterator[Document]:
    """The documents that were written to ``folder``, one at a time, in order.

    Raises:
        InputError: there is no shard, or one is damaged; the line says where.
    """
    shards = sorted(folder.glob("documents-*.jsonl"), key=lambda shard: (len(shard.name), shard.name))
    if not shards:
        raise InputError(f"no documents in {folder}: it holds no documents-*.jsonl")
    for shard in shards:
        with shard.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    yield Document.from_line(line)
                except (ValueError, KeyError, TypeError) as error:
                    raise InputError(f"{shard} is damaged at line {number}: {error}") from None

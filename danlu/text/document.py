"""A document, and the shards that a folder of documents is kept in.

A shard is ``documents-00000.jsonl``: UTF-8, one ``{"id", "text", "meta"}`` a line, in order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import orjson

from danlu.errors import InputError
from danlu.files import read_json

TARGET_START = "target_start"
"""The entry of ``meta`` that a pair has: at which character of its text the target begins."""
OFFSET = "offset"
"""The entry of ``meta`` that says at which byte of its unpacked file its record begins, where the format has places."""
_PIECE = 1 << 20


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
        record = orjson.loads(line)
        id, text, meta = record["id"], record["text"], record["meta"]
        for name, value, kind in (("id", id, str), ("text", text, str), ("meta", meta, dict)):
            if type(value) is not kind:
                raise TypeError(f"{name} is {type(value).__name__}, not {kind.__name__}")
        for name, value in meta.items():
            if type(value) is not str:
                raise TypeError(f"meta.{name} is {type(value).__name__}, not str")
        if TARGET_START in meta and not _parts_two_sides(meta[TARGET_START], text):
            raise ValueError(f"meta.{TARGET_START} is no place behind a line end of the text")
        return cls(id, text, meta)


def _parts_two_sides(start: str, text: str) -> bool:
    """Whether a pair's target can begin at that character of its text."""
    place = int(start) if start.isascii() and start.isdigit() and len(start) < 20 else 0
    return 0 < place <= len(text) and text[place - 1] == "\n"


def main_language(document: Document) -> str | None:
    """Its language without script or region: ``zh`` of ``zh-Hant``; None where nobody has said."""
    language = document.meta.get("language")
    return None if language is None else language.split("-")[0]


def pair(source: str, target: str) -> tuple[str, dict[str, str]]:
    """The text of a document that is a pair, a line end between its sides, and what ``meta`` says of it."""
    return f"{source}\n{target}", {TARGET_START: str(len(source) + 1)}


def shard_path(folder: Path, number: int) -> Path:
    """The shard with that number, from 0, of a folder of documents."""
    return folder / f"documents-{number:05d}.jsonl"


def document_shards(folder: Path) -> list[Path]:
    """The shards that were written to ``folder``, in order.

    Raises:
        InputError: there is none, or one that the stage did not write.
    """
    shards = sorted(folder.glob("documents-*.jsonl"), key=lambda shard: (len(shard.name), shard.name))
    if not shards:
        raise InputError(f"no documents in {folder}: it holds no documents-*.jsonl")
    written = (read_json(folder / "done.json") or {}).get("outputs")
    strange = next((shard for shard in shards if isinstance(written, dict) and shard.name not in written), None)
    if strange is not None:
        raise InputError(
            f"{strange} is not listed in done.json beside it, so that nobody knows what it holds: remove it"
        )
    return shards


def read_documents(folder: Path) -> Iterator[Document]:
    """The documents that were written to ``folder``, one at a time, in order.

    Raises:
        InputError: there is no shard, or one is damaged; the line says where.
    """
    for shard in document_shards(folder):
        yield from read_shard(shard)


def read_shard(shard: Path, start: int = 0, end: int | None = None) -> Iterator[Document]:
    """The documents of a shard whose lines begin at a byte from ``start`` on and before ``end``, in order.

    Raises:
        InputError: the shard is damaged there; the line says where.
    """
    with shard.open("rb") as file:
        place = _next_line(file, start, end)
        for line in file:
            if end is not None and place >= end:
                return
            try:
                document = Document.from_line(line)
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(f"{shard} is damaged at line {_line_number(shard, place)}: {error}") from None
            yield document
            place += len(line)


def _next_line(file: BinaryIO, start: int, end: int | None) -> int:
    """Go to the first line that begins at ``start`` or behind it, and no farther than ``end``; where that is."""
    if not start:
        return 0
    place = file.seek(start - 1)
    while (end is None or place < end) and (piece := file.readline(_PIECE)):
        place += len(piece)
        if piece.endswith(b"\n"):
            break
    return place


def _line_number(shard: Path, place: int) -> int:
    """The number of the line that begins at that byte."""
    lines = 1
    with shard.open("rb") as file:
        while piece := file.read(min(_PIECE, place - file.tell())):
            lines += piece.count(b"\n")
    return lines

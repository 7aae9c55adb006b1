"""Where each shard comes from: the files that were read for it, what of them is left, and what decided it.

Two files lie beside the shards, the same bytes for any number of processes and after a kill:

    lineage.json    what all shards share: settings, versions, the sources with licences and counts, files of rules
    lineage.jsonl   a line for each portion: its shard, counts, its stretches of dropped.jsonl and quarantine.jsonl, and
                    its files, each with the SHA-256 of the bytes that were read (of a part of a file, of that part)
"""

from __future__ import annotations

import hashlib
import json
import platform
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from danlu import __version__
from danlu.clean.counts import Counts
from danlu.clean.portions import Portion
from danlu.errors import InputError
from danlu.files import hash_file, read_json
from danlu.machine import version
from danlu.readers.record import Content, LocalFile, printable
from danlu.readers.remote import RemoteFile
from danlu.readers.row_groups import RowGroups
from danlu.readers.slices import Slice
from danlu.readers.sources import Source, SourceFile
from danlu.text.document import shard_path

FILE, PORTIONS = "lineage.json", "lineage.jsonl"
DECIDING = (
    "backports.zstd", "brotli", "ftfy", "nltk", "numpy", "opencc-pyo3", "orjson", "phonenumberslite", "py3langid",
    "pyarrow", "pypdfium2", "python-stdnum", "resiliparse", "rjieba", "tokenizers", "trafilatura",
)  # fmt: skip
"""Packages whose version may change which text comes out."""
COUNTED = (
    "documents_in", "kept", "characters", "bytes", "dropped", "quarantined", "language_documents", "language_bytes"
)  # fmt: skip
"""What is told of a source; ``counts.json`` has the rest."""
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class FileRead:
    """A file, or a part of one, that was read for a portion."""

    name: str
    """As it stands in the ids of its documents."""
    path: str
    """Where it was: a path (a byte that is no UTF-8 is half a surrogate pair, as Python has it), or an address."""
    bytes: int | None
    """As stored; of the part, where it is one."""
    sha256: str | None
    """Of these bytes; None of a file elsewhere that was not kept in a cache: ``stamp`` tells its versions apart."""
    stamp: str | None
    """What the store of a file elsewhere says of its version (ETag, time), and its size."""
    part: bool
    """Whether it is a part of a file, cut by size: lines, or row groups of Parquet (whose footer is in none)."""
    start: int
    """At which byte of the file it begins."""
    first: int
    """The number of its first record."""
    records: int
    """How many were read, those that could not be read among them."""

    @classmethod
    def of(cls, file: SourceFile, records: int) -> Self:
        """With the hash of what is there now."""
        content = file.content
        part, start, first, size = False, 0, 0, content.size
        match content:
            case Slice():
                part, start, first = True, content.start, content.line
            case RowGroups():
                start, end = content.places()
                part, first, size = True, content.row, end - start
        stamp = content.stamp if isinstance(content, RemoteFile) else None
        digest = content_hash(content)
        return cls(file.name, where(content), size, digest, stamp, part, start, first, records)

    def told(self) -> dict[str, Any]:
        """For JSON; one of a hundred thousand files, for which :func:`dataclasses.asdict` is slow."""
        return {name: getattr(self, name) for name in FileRead.__slots__}


def where(content: Content) -> str:
    """The path of a file, or its address."""
    if isinstance(content, RemoteFile):
        return content.url
    content = content.inner if isinstance(content, Slice | RowGroups) else content
    return str(content.path) if isinstance(content, LocalFile) else content.name


def content_hash(content: Content) -> str | None:
    """SHA-256 of a file as it is stored, or of a part of one; None where that would mean to fetch it once more."""
    match content:
        case LocalFile(path):
            return hash_file(path)
        case Slice():
            return hash_range(content.inner.path, content.start, content.end)
        case RowGroups():
            return hash_range(content.inner.path, *content.places())
        case RemoteFile() if content.cache is not None:
            with content.local() as path:
                return hash_file(path)
    return None


def hash_range(path: Path, start: int, end: int) -> str:
    """SHA-256 of the bytes of a file from ``start`` to before ``end``; of fewer, where it ends before."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(start)
        while (left := end - file.tell()) > 0 and (piece := file.read(min(left, _PIECE))):
            digest.update(piece)
    return digest.hexdigest()


def files_read(portion: Portion, records: Mapping[int, int]) -> list[FileRead]:
    """All files of a portion in order.

    Args:
        records: by the place of a file among them.
    """
    return [FileRead.of(file, records.get(place, 0)) for place, file in enumerate(portion.files)]


@dataclass(frozen=True, slots=True)
class PortionLine:
    """A line of ``lineage.jsonl``."""

    portion: int
    shard: str | None
    """The name of its shard; None where no document is left."""
    source: int
    """Which of ``clean.sources``, from 0."""
    documents_in: int
    kept: int
    dropped: int
    quarantined: int
    dropped_at: tuple[int, int]
    """From which byte to which its lines of ``dropped.jsonl`` stand."""
    quarantine_at: tuple[int, int]
    files: list[FileRead]

    @classmethod
    def of(
        cls, portion: Portion, source: int, counts: Counts, places: Mapping[str, tuple[int, int]], files: Path
    ) -> Self:
        """Of what became of a portion; ``files`` is what :func:`files_read` gave, written as JSON."""
        return cls(
            portion.number, shard_path(Path(), portion.number).name if counts.kept else None, source,
            counts.documents_in, counts.kept, counts.dropped.total(), counts.quarantined.total(),
            places["dropped.jsonl"], places["quarantine.jsonl"],
            [FileRead(**each) for each in json.loads(files.read_text(encoding="utf-8"))],
        )  # fmt: skip

    def line(self) -> bytes:
        told = {each.name: getattr(self, each.name) for each in fields(self)}
        told["files"] = [each.told() for each in self.files]
        return json.dumps(told, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """What :meth:`line` wrote.

        Raises:
            ValueError, KeyError, TypeError: it is no such line.
        """
        read = json.loads(line)
        spans = {name: (int(read[name][0]), int(read[name][1])) for name in ("dropped_at", "quarantine_at")}
        return cls(**{**read, **spans, "files": [FileRead(**each) for each in read["files"]]})


@dataclass(slots=True)
class BySource:
    """What each source gave, added up a portion at a time."""

    sources: Sequence[Source]
    counts: list[Counts] = field(init=False)
    files: list[set[str]] = field(init=False)
    bytes: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.counts = [Counts() for _ in self.sources]
        self.files = [set() for _ in self.sources]
        self.bytes = [0 for _ in self.sources]

    def number(self, portion: Portion) -> int:
        """Which of the sources a portion is of."""
        return next(number for number, source in enumerate(self.sources) if source is portion.source)

    def add(self, portion: Portion, counts: Counts) -> None:
        """Count what became of a portion."""
        number = self.number(portion)
        self.counts[number] += counts
        self.bytes[number] += portion.size
        self.files[number].update(file.name for file in portion.files)

    def table(self) -> list[dict[str, Any]]:
        """A row for each source: where it is, whose it is, what came of it."""
        return [
            {
                "path": printable(source.path),
                "title": source.title,
                "license": source.license,
                "origin": source.origin,
                "files": len(self.files[number]),
                "bytes_read": self.bytes[number],
                **{name: getattr(self.counts[number], name) for name in COUNTED},
            }
            for number, source in enumerate(self.sources)
        ]


def lineage(settings: Mapping[str, Any], by_source: BySource, external: Sequence[Path]) -> dict[str, Any]:
    """What ``lineage.json`` holds.

    Args:
        settings: all that decide the result.
        external: the files that rules read.
    """
    return {
        "danlu": __version__,
        "python": platform.python_version(),
        "unicode": unicodedata.unidata_version,
        "packages": {name: found for name in DECIDING if (found := version(name)) is not None},
        "settings": settings,
        "sources": by_source.table(),
        "rule_files": [{"path": printable(path), "sha256": hash_file(path)} for path in external],
    }


def read_lineage(folder: Path) -> dict[str, Any]:
    """What all shards of a folder of ``clean`` share.

    Raises:
        InputError: the file is not there, or not whole.
    """
    found = read_json(folder / FILE)
    if found is None or not isinstance(found.get("settings"), dict):
        raise InputError(f"{folder / FILE} is missing or damaged; run 'danlu clean' with this version")
    return found


def read_portions(folder: Path, *, naming: Sequence[str] | None = None) -> Iterator[PortionLine]:
    """The lines of ``lineage.jsonl``, one at a time.

    Args:
        naming: names of files; lines that hold none of them are passed over, and not looked into.

    Raises:
        InputError: the file is not there, or damaged; the line says where.
    """
    path = folder / PORTIONS
    asked = (
        None
        if naming is None
        else [json.dumps(name, ensure_ascii=False).encode(errors="backslashreplace") for name in naming]
    )
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if asked is not None and not any(each in line for each in asked):
                    continue
                try:
                    yield PortionLine.from_line(line)
                except (ValueError, KeyError, TypeError) as error:
                    raise InputError(f"{path} is damaged at line {number}: {error}") from None
    except FileNotFoundError:
        raise InputError(f"{path} is missing; run 'danlu clean' with this version") from None

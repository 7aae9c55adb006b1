"""What stands at a place of a source now: whether the file is the one that was read, and its bytes there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Literal

from danlu.clean.lineage import FileRead, hash_range
from danlu.errors import InputError
from danlu.readers.archives import opened_member
from danlu.readers.reading import read, unpacked
from danlu.readers.record import Content, Damaged, LocalFile, Raw
from danlu.readers.remote import RemoteFile, find_remote
from danlu.readers.sources import Source
from danlu.trace.fates import Fate

SHOWN_BYTES = 400
_PIECE = 1 << 20
State = Literal["unchanged", "changed", "missing", "not known"]


@dataclass(frozen=True, slots=True)
class Place:
    """What is there."""

    state: State
    """Whether the file, or the part that was read, is what it was: by SHA-256, elsewhere by what its store says."""
    raw: bytes | None = None
    """The first bytes of the record, unpacked; None where they cannot be had."""
    record: str | None = None
    """The first characters of the record as its reader gives it now, where its format has no places."""
    problem: str | None = None
    """Why there is neither."""


def look(fate: Fate, source: Source) -> Place:
    """Read the record of ``fate`` where it stood."""
    file = fate.origin.file
    try:
        content = _content(file, source)
    except InputError as error:
        return Place("not known", problem=str(error))
    if content is None:
        return Place("missing", problem=f"{file.path} is not there any more")
    try:
        state = _state(file, content)
        if fate.offset is None:
            return _record(fate, source, content, state)
        with _opened(fate, source, content) as stream:
            _pass_over(stream, fate.offset)
            return Place(state, raw=stream.read(SHOWN_BYTES))
    except Damaged as damage:
        return Place(state, problem=f"{damage.reason}{damage.detail and f': {damage.detail}'}")
    except (OSError, InputError) as error:
        return Place("not known", problem=f"{file.path} cannot be read: {error}")


def _content(file: FileRead, source: Source) -> LocalFile | RemoteFile | None:
    """The whole file; None where it is gone."""
    if "://" in file.path:
        found = find_remote(file.path, "trace", source.cache)
        return found[0][1] if found else None
    path = Path(file.path)
    return LocalFile(path) if path.is_file() else None


@lru_cache(maxsize=1024)
def _state(file: FileRead, content: LocalFile | RemoteFile) -> State:
    if isinstance(content, RemoteFile):
        return "unchanged" if content.stamp == file.stamp else "changed"
    end = file.start + (file.bytes or 0)
    size = content.size or 0
    if size < end or (file.start == 0 and not file.part and size != end):
        return "changed"
    same = hash_range(content.path, file.start, end) == file.sha256
    return "unchanged" if same else "changed"


@contextmanager
def _opened(fate: Fate, source: Source, content: Content) -> Iterator[BinaryIO]:
    """The unpacked file, or the unpacked member of an archive, from its beginning."""
    wanted = source.wanted()
    if fate.origin.member:
        with opened_member(content, wanted, fate.origin.member) as member, unpacked(member, wanted).open() as stream:
            yield stream
    else:
        with unpacked(content, wanted).open() as stream:
            yield stream


def _pass_over(stream: BinaryIO, size: int) -> None:
    if stream.seekable():
        stream.seek(size)
        return
    while size:
        piece = stream.read(min(size, _PIECE))
        if not piece:
            raise Damaged("it ends before that place")
        size -= len(piece)


def _record(fate: Fate, source: Source, content: Content, state: State) -> Place:
    """By reading on to it."""
    for record in read(content, source.wanted()):
        if (record.member, record.number) == (fate.origin.member, fate.origin.record):
            if isinstance(record, Raw):
                return Place(state, record=record.text[:SHOWN_BYTES])
            return Place(state, problem=f"{record.reason}{record.detail and f': {record.detail}'}")
    return Place(state, problem=f"the file has no record {fate.origin.record} any more")

"""Archives: every member that a reader takes, read as the file that it is; nothing is unpacked under its own name.

A record's ``member`` is the name in the archive (``b/c.txt``; ``inner.zip!/c.txt`` of an archive in an archive); of
members with the same name the second is ``b/c.txt~2``. Names are labels: ``../`` and ``/`` at the front lead nowhere.
Links and devices are quarantined; hidden members and what no reader takes are told in one rejected record at the end.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import PurePosixPath
from typing import BinaryIO

from danlu import catalog
from danlu.readers import zip as zips
from danlu.readers.limits import budget_of
from danlu.readers.packed import buffered
from danlu.readers.reading import read, reader_for, unpacked
from danlu.readers.record import Content, Damaged, Raw, Rejected, Wanted
from danlu.readers.spool import Member, Spool, SpoolStream
from danlu.readers.tar import TarStream

_NOT_READ = "archive members that no reader takes"


def read_zip(content: Content, wanted: Wanted) -> Iterator[Raw | Rejected]:
    """The records of all members of a zip archive."""
    return _records(content, wanted, _zip_members)


def read_tar(content: Content, wanted: Wanted) -> Iterator[Raw | Rejected]:
    """The records of all members of a tar archive."""
    return _records(content, wanted, _tar_members)


def read_packed_tar(content: Content, wanted: Wanted) -> Iterator[Raw | Rejected]:
    """The records of a tar archive whose ending is short for two: ``.tgz``."""
    return read_tar(_unpacked_tar(content, wanted), wanted)


def _unpacked_tar(content: Content, wanted: Wanted) -> Content:
    ending = content.name[content.name.rindex(".") :].lower()
    found: Content = catalog.load("packing", ending, key="packing")(content, wanted)
    return found


@contextmanager
def opened_member(content: Content, wanted: Wanted, member: str) -> Iterator[Content]:
    """The content of the member whose records are named so; it can be read until the ``with`` ends.

    Raises:
        Damaged: there is no such member, or damage before it.
    """
    reader = reader_for(content.name, wanted.read_as)
    content = unpacked(content, wanted)
    if reader is read_packed_tar:
        content = _unpacked_tar(content, wanted)
    elif reader not in (read_zip, read_tar):
        raise Damaged("no archive", content.name)
    members, names = _zip_members if reader is read_zip else _tar_members, _Names()
    with closing(members(content, wanted, names, _depth(content) + 1)) as found:
        for item in found:
            name = "" if isinstance(item, Rejected) else names.unique(item.name)
            if isinstance(item, Rejected) or not (name == member or member.startswith(f"{name}!/")):
                continue
            if name == member:
                yield item
            else:
                with opened_member(item, wanted, member.removeprefix(f"{name}!/")) as inside:
                    yield inside
            return
    raise Damaged("no such member", member)


def _depth(content: Content) -> int:
    """How many archives the content stands in."""
    while (inner := getattr(content, "inner", None)) is not None:
        content = inner
    return getattr(content, "depth", 0)


_Found = Generator["Member | Rejected", None, None]


class _Names:
    """The names of one archive: each once, and what is passed over."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()
        self.passed: Counter[str] = Counter()

    def unique(self, name: str) -> str:
        """The name as Unicode text; with its number where it came before."""
        name = os.fsencode(name).decode(errors="backslashreplace")
        self._seen[name] += 1
        return name if self._seen[name] == 1 else f"{name}~{self._seen[name]}"

    def is_read(self, name: str, wanted: Wanted) -> bool:
        """Does a reader take it? Else it is counted."""
        parts = [part for part in PurePosixPath(name).parts if not part.startswith("..")]
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
        if hidden or reader_for(name, wanted.read_as) is None:
            self.passed["hidden" if hidden else PurePosixPath(name).suffix[:12].lower() or "no ending"] += 1
            return False
        return True

    def summary(self) -> str:
        return ", ".join(f"{ending} {count}" for ending, count in self.passed.most_common(10))


_Members = Callable[[Content, Wanted, _Names, int], _Found]


def _records(content: Content, wanted: Wanted, members: _Members) -> Iterator[Raw | Rejected]:
    depth = _depth(content) + 1
    if depth > wanted.archive_depth:
        yield Rejected(0, "archives nested too deep", f"more than {wanted.archive_depth} (archive_depth)")
        return
    names = _Names()
    number = 0
    with closing(members(content, wanted, names, depth)) as found:
        for item in found:
            if isinstance(item, Rejected):
                item.number = number
                number += 1
                yield item
                continue
            name = names.unique(item.name)
            for record in read(item, wanted):
                record.member = f"{name}!/{record.member}" if record.member else name
                yield record
            number += 1
            if item.budget.over:  # the member told it
                return
    if names.passed:
        yield Rejected(number, _NOT_READ, f"{names.passed.total()} members: {names.summary()}")


def _zip_members(content: Content, wanted: Wanted, names: _Names, depth: int) -> _Found:
    budget = budget_of(content, wanted)
    with content.local() as path:
        found, damage = zips.entries(path)
        for entry in found:
            if entry.problem:
                yield Rejected(0, entry.problem, member=names.unique(entry.name))
            elif names.is_read(entry.name, wanted):
                start = partial(zips.open_entry, path, entry, budget)
                yield Member(entry.name, entry.packed_size, start, budget, depth)
    if damage is not None:
        yield Rejected(0, damage.reason, damage.detail)


def _begin(spool: Spool) -> BinaryIO:
    return buffered(SpoolStream(spool))


def _tar_members(content: Content, wanted: Wanted, names: _Names, depth: int) -> _Found:
    budget = budget_of(content, wanted)
    with content.open() as stream:
        tar = TarStream(stream)
        for entry in tar.entries():
            if isinstance(entry, Damaged):
                yield Rejected(0, entry.reason, entry.detail)
                continue
            if entry.kind not in ("file", "folder"):
                yield Rejected(0, f"{entry.kind} in an archive", member=names.unique(entry.name))
            if entry.kind != "file" or not names.is_read(entry.name, wanted):
                tar.skip(entry.size)
                tar.align(entry.size)
                continue
            with Spool(stream, entry.size) as spool:
                yield Member(entry.name, entry.size, partial(_begin, spool), budget, depth)
                error = spool.drain()
            if error is not None:
                raise error
            tar.align(entry.size)

"""What a reader takes and what it gives: the bytes of a file, what a source says of them, and records, good and bad.

A reader is a function ``(content, wanted) -> records``; the catalog maps the end of a file's name to it. What cannot be
read comes out as :class:`Rejected` and reading goes on where that is possible.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol

from danlu.text.cuts import Cut, Whole

ENCODING = "encoding"
"""The field that says what a record was in, where that was not UTF-8."""
LOST = "lost_parts"
"""The field that says how many parts of a record could not be read, and are quarantined in places of their own."""
SAID_HERE = (ENCODING, LOST)
"""Fields that readers write; a field or a column of such a name says it of something else, and is left out."""
RECORD_BYTES = 256_000_000
UNPACKED_BYTES = 1_000_000_000_000


@dataclass(slots=True)
class Raw:
    """A record as it stands in a file: its number there from 0, its text, its other string fields.

    A file of lines numbers its lines, any other one its records: rows, members of a list, the file itself.
    """

    number: int
    text: str
    fields: dict[str, str] = field(default_factory=dict)
    offset: int | None = field(default=None, compare=False)
    """At which byte of the unpacked file it begins; None in formats that have no such place."""
    member: str = ""
    """Which file of an archive it stands in; empty where the file is none."""


@dataclass(slots=True)
class Rejected:
    """A record that cannot be read: its number, why (a short phrase that is counted), and where exactly."""

    number: int
    reason: str
    detail: str = ""
    offset: int | None = field(default=None, compare=False)
    member: str = ""


class Content(Protocol):
    """The bytes of one file, or of one member of an archive; picklable."""

    @property
    def name(self) -> str:
        """Printable; its ending picks the reader."""

    @property
    def size(self) -> int | None:
        """Bytes as stored, for progress; None where that is not known."""

    def open(self) -> BinaryIO:
        """From the beginning, unpacked; perhaps not seekable, and to be read in pieces.

        Raises:
            Damaged: here or while it is read: what packs the bytes is damaged, or goes beyond a limit.
        """

    def local(self) -> AbstractContextManager[Path]:
        """A path, for formats that seek: the file itself, or a copy of bounded size that is there for a ``with``."""


class Damaged(Exception):  # noqa: N818 (what was read ends here; it is no bug)
    """What packs a file is damaged or goes beyond a limit: nothing more can be read of it."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        """A short phrase that is counted."""
        self.detail = detail


class CutShort(Damaged):
    """It ends early: what came before is as it was written."""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file on this machine."""

    path: Path

    @property
    def name(self) -> str:
        return printable(self.path)

    @property
    def size(self) -> int | None:
        return self.path.stat().st_size

    def open(self) -> BinaryIO:
        return self.path.open("rb")

    def local(self) -> AbstractContextManager[Path]:
        return nullcontext(self.path)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a source says about its records; see the settings of :class:`~danlu.readers.sources.Source`."""

    text_field: str = "text"
    target_field: str | None = None
    documents: Cut = field(default_factory=Whole)
    encoding: str | None = None
    invalid: Literal["quarantine", "replace"] = "quarantine"
    record_bytes: int = RECORD_BYTES
    html: Literal["main", "all", "trafilatura"] = "main"
    markdown: Literal["markup", "plain"] = "markup"
    code_blocks: bool = True
    unpacked_bytes: int = UNPACKED_BYTES
    unpacked_ratio: int = 1000
    archive_depth: int = 4
    notes: bool = False
    read_as: str | None = None


Reader = Callable[[Content, Wanted], Iterator[Raw | Rejected]]


def printable(path: Path) -> str:
    r"""The path as Unicode text: a byte that is no UTF-8 becomes ``\xe9``, for ids and sources are written as UTF-8."""
    return printable_name(path.as_posix())


def printable_name(name: str) -> str:
    """The same of one part of a path."""
    return name if name.isascii() else os.fsencode(name).decode(errors="backslashreplace")


def checked(place: Raw, text: Any, others: dict[str, Any], text_field: str, where: str) -> Raw | Rejected:
    """``place`` with its text and the other fields that are strings, where the text is one and all are Unicode.

    Args:
        where: for the detail of what is rejected: ``at byte 60``, ``row 3``.
    """
    if not isinstance(text, str):
        kind = type(text).__name__
        return Rejected(place.number, f"field {text_field!r} is not text", f"{where}: {kind}", place.offset)
    strings = {name: value for name, value in others.items() if isinstance(value, str)}
    try:
        "".join([text, *strings, *strings.values()]).encode()
    except UnicodeEncodeError:  # JSON can spell half a surrogate pair, which is no character
        return Rejected(place.number, "not Unicode", f"{where}: half a surrogate pair", place.offset)
    place.text = text
    place.fields = strings
    return place

"""What became of a document in ``clean``, found by its id without an index and without holding more than one portion.

An id says the file, the member of an archive and the number of the record. ``lineage.jsonl`` says in which portion that
record is; its shard, and its stretches of ``dropped.jsonl`` and ``quarantine.jsonl``, are read a line at a time.
"""

from __future__ import annotations

import difflib
import heapq
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from danlu import catalog
from danlu.clean.lineage import FileRead, PortionLine, read_lineage, read_portions
from danlu.errors import InputError, shown
from danlu.readers.sources import Source
from danlu.recipe import build
from danlu.text.document import OFFSET, Document

NEAREST = 3
"""Ids that are named where there is no such one."""
LONGEST_NUMBERS = 30
"""Digits of the numbers in an id together: no file has so many records."""
LONGEST_NAME = 4096
"""Characters of what is compared with the names of files; no path is longer."""
MOST_MEMBERS = 32
"""Borders between a file and its member that an id may have; archives lie in archives a few deep."""
_ID = re.compile(r"(?P<file>.+)#(?P<record>\d+)(?:\.(?P<piece>\d+))?", re.DOTALL)
_LINE_ID = re.compile(rb'\{"id": ("(?:[^"\\]|\\.)*")')


@dataclass(frozen=True, slots=True)
class Origin:
    """The record that an id speaks of."""

    portion: PortionLine
    file: FileRead
    member: str
    record: int


@dataclass(frozen=True, slots=True)
class Fate:
    """A document, or a record that is none, and what became of it."""

    id: str
    became: Literal["kept", "dropped", "quarantined"]
    origin: Origin
    offset: int | None
    """At which byte of the unpacked file, or of the unpacked member, its record begins; None where it has no places."""
    line: int | None
    """Of its shard, or of its portion's stretch of ``dropped.jsonl`` or ``quarantine.jsonl``, from 1; None where these
    are not at hand."""
    text: str = ""
    """Of what was kept."""
    meta: dict[str, str] | None = None
    reason: str | None = None
    rule: str | None = None
    """The choice of ``clean.rules`` or ``clean.duplicates`` that dropped it, as a recipe names it."""
    of: str | None = None
    """The document that it repeats."""
    detail: str | None = None


@dataclass(frozen=True)
class Cleaned:
    """The folder of ``clean``."""

    folder: Path

    @cached_property
    def lineage(self) -> dict[str, Any]:
        """What all its shards share.

        Raises:
            InputError: it is not there.
        """
        return read_lineage(self.folder)

    def source(self, number: int) -> Source:
        """The settings of a source."""
        return build(Source, self.lineage["settings"]["sources"][number], key=f"clean.sources.{number}")

    def find(self, identity: str) -> Fate:
        """What became of the document, or record, of this id.

        Raises:
            InputError: there is none; the line names those that are nearest.
        """
        parsed = parse(identity)
        if parsed is None:
            raise InputError(f"no document {shown(identity)!r}: an id is FILE#RECORD{self._such_as()}")
        record, piece = int(parsed["record"]), None if parsed["piece"] is None else int(parsed["piece"])
        origins = list(origins_of(self.folder, parsed["file"], record))
        if not origins:
            raise InputError(f"no document {shown(identity)!r}: {self._no_file(parsed['file'])}")
        for origin in origins:
            found = self._kept(identity, origin) or self._dropped(identity, origin)
            if found is None and piece is None:
                found = self._quarantined(identity, origin)
            if found is not None:
                return found
        nearest = heapq.nsmallest(
            NEAREST, (each for origin in origins for each in self._ids(origin)), key=lambda each: _far(each, parsed)
        )
        raise InputError(f"no document {shown(identity)!r}; nearest: {', '.join(map(repr, nearest)) or 'none'}")

    def _kept(self, identity: str, origin: Origin) -> Fate | None:
        if origin.portion.shard is None:
            return None
        place = _find_line(self.folder / origin.portion.shard, identity)
        if place is None:
            return None
        number, line = place
        document = Document.from_line(line)
        offset = document.meta.get(OFFSET)
        return Fate(
            identity, "kept", origin, None if offset is None else int(offset), number, document.text, document.meta
        )

    def _dropped(self, identity: str, origin: Origin) -> Fate | None:
        place = _find_line(self.folder / "dropped.jsonl", identity, origin.portion.dropped_at)
        if place is None:
            return None
        number, line = place
        entry = json.loads(line)
        return Fate(
            identity, "dropped", origin, entry.get(OFFSET), number,
            reason=entry["reason"], rule=self._rule(entry), of=entry.get("of"),
        )  # fmt: skip

    def _rule(self, entry: dict[str, Any]) -> str | None:
        settings = self.lineage["settings"]
        if "rule" in entry:
            return f"clean.rules.{entry['rule']} ({settings['rules'][entry['rule']]['use']})"
        for number, choice in enumerate(settings["duplicates"]):
            key = f"clean.duplicates.{number}"
            if catalog.load("duplicates", choice["use"], key=key).reason == entry["reason"]:
                return f"{key} ({choice['use']})"
        return None

    def _quarantined(self, identity: str, origin: Origin) -> Fate | None:
        lines = _lines(self.folder / "quarantine.jsonl", origin.portion.quarantine_at)
        for number, line in enumerate(lines, start=1):
            entry = json.loads(line)
            place = entry["file"], entry.get("member", ""), entry["record"]
            if place == (origin.file.path, origin.member, origin.record):
                return Fate(
                    identity, "quarantined", origin, entry.get("offset"), number,
                    reason=entry["reason"], detail=entry["detail"] or None,
                )  # fmt: skip
        return None

    def _ids(self, origin: Origin) -> Iterator[str]:
        """The ids of all documents, kept and dropped, of the portion that are of the file."""
        places = [(self.folder / "dropped.jsonl", origin.portion.dropped_at)]
        if origin.portion.shard is not None:
            shard = self.folder / origin.portion.shard
            places.append((shard, (0, shard.stat().st_size)))
        for path, span in places:
            for line in _lines(path, span):
                found = _LINE_ID.match(line)
                name = "" if found is None else json.loads(found[1])
                if name.startswith((f"{origin.file.name}#", f"{origin.file.name}!/")):
                    yield name

    def _such_as(self) -> str:
        portion = next(read_portions(self.folder), None)
        first = None if portion is None else next(iter(self._ids(Origin(portion, portion.files[0], "", 0))), None)
        return "" if first is None else f", such as {first!r}"

    def _no_file(self, front: str) -> str:
        """Which file was perhaps meant."""
        if len(front) > LONGEST_NAME:
            return f"no file {shown(front)!r} was read"
        matcher, best = difflib.SequenceMatcher(b=front), (0.0, "")
        for portion in read_portions(self.folder):
            for file in portion.files:
                matcher.set_seq1(file.name)
                alike = 1.0 if front.endswith(f"/{file.name}") else 0.0
                if not alike and matcher.real_quick_ratio() > best[0] and matcher.quick_ratio() > best[0]:
                    alike = matcher.ratio()
                best = max(best, (alike, file.name), key=lambda each: each[0])
        told = f"no file {shown(front)!r} was read"
        return f"{told}; did you mean {best[1]!r}?" if best[0] >= 0.6 else told


def parse(identity: str) -> re.Match[str] | None:
    """The ``file``, ``record`` and ``piece`` that an id speaks of; None where it is none."""
    found = _ID.fullmatch(identity)
    return found if found is not None and len(found["record"]) + len(found["piece"] or "") < LONGEST_NUMBERS else None


def origins_of(folder: Path, front: str, record: int) -> Iterator[Origin]:
    """Where a record may be, by the ``lineage.jsonl`` in a folder: a name may itself hold what parts a file from its
    member.

    Raises:
        InputError: that file is missing or damaged.
    """
    members = {front: ""}
    for match in islice(re.finditer("!/", front), MOST_MEMBERS):
        members[front[: match.start()]] = front[match.end() :]
    found: dict[str, Origin] = {}
    for portion in read_portions(folder, naming=list(members)):
        for file in portion.files:
            if file.name in members and file.first <= record:  # the last part that begins before it
                found[file.name] = Origin(portion, file, members[file.name], record)
    yield from found.values()


def _far(identity: str, asked: re.Match[str]) -> tuple[bool, int, int]:
    """How far an id is from the one that was asked for: another member, records between, pieces between."""
    found = _ID.fullmatch(identity)
    assert found is not None, identity
    record, piece = (abs(int(found[name] or 0) - int(asked[name] or 0)) for name in ("record", "piece"))
    return found["file"] != asked["file"], record, piece


def _lines(path: Path, span: tuple[int, int]) -> Iterator[bytes]:
    """The lines of a stretch of a file.

    Raises:
        InputError: it is not there, or ends before.
    """
    place, end = span
    try:
        with path.open("rb") as file:
            file.seek(place)
            while place < end:
                line = file.readline()
                if not line:
                    raise InputError(f"{path} is damaged: it ends before byte {end}")
                place += len(line)
                yield line
    except FileNotFoundError:
        raise InputError(f"{path} is missing; run 'danlu clean'") from None


def _find_line(path: Path, identity: str, span: tuple[int, int] | None = None) -> tuple[int, bytes] | None:
    """The number, from 1, and the line that is of this id; None where there is none."""
    begins = json.dumps({"id": identity}, ensure_ascii=False).encode(errors="backslashreplace")[:-1] + b", "
    if span is None:
        if not path.exists():
            raise InputError(f"{path} is missing; run 'danlu clean'")
        span = (0, path.stat().st_size)
    lines = enumerate(_lines(path, span), start=1)
    return next(((number, line) for number, line in lines if line.startswith(begins)), None)

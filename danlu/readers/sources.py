"""Where text comes from: the sources that a recipe names, and the files below them."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, SkipValidation, field_validator, model_validator

from danlu import catalog
from danlu.errors import InputError, did_you_mean, shown
from danlu.readers.hugging_face import has_splits, split_fields
from danlu.readers.parts import cut_content
from danlu.readers.reading import kind, read
from danlu.readers.record import (
    RECORD_BYTES,
    UNPACKED_BYTES,
    Content,
    LocalFile,
    Raw,
    Rejected,
    Wanted,
    printable,
    printable_name,
)
from danlu.readers.remote import RemoteFile, find_remote, remote_url
from danlu.readers.row_groups import RowGroups
from danlu.readers.slices import Slice
from danlu.readers.walk import Entry, Group, walk, walk_matched
from danlu.recipe import OneOf, Settings
from danlu.text.cuts import Cut, Whole
from danlu.text.encodings import ENCODINGS, is_known

PAGES = frozenset({".html", ".htm", ".xhtml", ".shtml"})
TEXTS = PAGES | {".txt", ".text", ".md", ".markdown", ".jsonl", ".ndjson", ".json", ".csv", ".tsv"}
PLAIN = TEXTS | {".parquet", ".arrow", ".feather"}
CONCERNED = {
    "encoding": TEXTS,
    "invalid": TEXTS,
    "html": PAGES,
    "markdown": {".md", ".markdown"},
    "code_blocks": {".md", ".markdown"},
}
"""The endings of files that a setting means something for, among the plain ones."""


class Source(Settings):
    """A file or folder of text; the path alone will do where the defaults fit."""

    short: ClassVar[str | None] = "path"

    path: Path
    """A file, a folder that is searched, or a pattern (``data/**/*.md``), relative to the current directory; or an
    address (``s3://bucket/folder``, ``https://host/*.txt``)."""
    language: str | None = None
    """The language of all its text (ISO 639-1: en, zh); detected for each document where not given."""
    text_field: str = Field(default="text", min_length=1)
    """The field of a .jsonl record, or the column of a table, that holds the text; of a table without names its
    number, from 1."""
    target_field: str | None = Field(default=None, min_length=1)
    """The field of what belongs to that text, such as its translation or its summary: a document is then a pair, for
    the objective ``seq2seq``."""
    documents: Annotated[SkipValidation[Cut], OneOf("documents")] = Whole()
    """What one document is: the whole record (a .txt file is one record), its lines, paragraphs or blocks, or
    what stands between lines of one kind."""
    encoding: str | None = None
    """What its text is in (gb18030, big5, utf-16 …); detected for each file where not given."""
    invalid: Literal["quarantine", "replace"] = "quarantine"
    """What becomes of a record with bytes that its encoding does not have; ``replace`` puts U+FFFD in their place."""
    record_bytes: int = Field(default=RECORD_BYTES, ge=1)
    """A longer record is quarantined, unread: a line, a file that is one record, a cell."""
    html: Literal["main", "all", "trafilatura"] = "main"
    """Of a page its main text, all of its text, or what the package trafilatura takes for the main text."""
    markdown: Literal["markup", "plain"] = "markup"
    """Whether .md stays as it is written or becomes plain text."""
    code_blocks: bool = True
    """Whether blocks of code in .md stay."""
    notes: bool = False
    """Whether footnotes and endnotes of .docx follow its text."""
    unpacked_bytes: int = Field(default=UNPACKED_BYTES, ge=1)
    """What a packed file or an archive, with all that is packed in it, may unpack to; the rest is quarantined."""
    unpacked_ratio: int = Field(default=1000, ge=1)
    """How many bytes one of its bytes may unpack to; looked at from 64 MiB unpacked on."""
    archive_depth: int = Field(default=4, ge=1)
    """How many archives may stand in one another."""
    license: str | None = Field(default=None, min_length=1)
    """Under which terms its text may be used (an SPDX name such as CC-BY-SA-4.0, or words); for lineage.json and the
    data card."""
    title: str | None = Field(default=None, min_length=1)
    """What it is called there."""
    origin: str | None = Field(default=None, min_length=1)
    """Who made it, or where it was fetched."""
    read_as: str | None = None
    """The ending as which any other is taken that no reader knows (``.txt`` for logs, subtitles, files without an
    ending), in archives too; such files are left out where it is not given."""
    cache: Path | None = None
    """A folder where files from an address are kept; without it they are read from there every time."""

    @field_validator("language")
    @classmethod
    def _language_code(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[a-z]{2,3}(-[A-Za-z0-9]+)*", value):
            raise ValueError(f"must be a language code such as en or zh; got {value!r}")
        return value

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str | None) -> str | None:
        if value is not None and not is_known(value):
            near = did_you_mean(value, ENCODINGS)
            raise ValueError(f"must be an encoding that Python knows, such as gb18030; got {value!r}{near}")
        return value

    @field_validator("read_as")
    @classmethod
    def _known_ending(cls, value: str | None) -> str | None:
        if value is not None and value not in catalog.names("reader"):
            near = did_you_mean(value, catalog.names("reader"))
            raise ValueError(f"must be an ending that a reader takes, such as .txt; got {value!r}{near}")
        return value

    @model_validator(mode="after")
    def _pairs_are_whole(self) -> Self:
        if self.target_field is not None and not isinstance(self.documents, Whole):
            raise ValueError("documents must be whole where there is a target_field: parts would not match")
        if self.target_field == self.text_field:
            raise ValueError(f"target_field must be another field than text_field; got {self.target_field!r}")
        return self

    def wanted(self) -> Wanted:
        """What it says to the readers."""
        return Wanted(**{name: getattr(self, name) for name in Wanted.__slots__})


class LeftOut(Enum):
    """Why something in a source is not read; in words."""

    KIND = "of kinds that no reader takes"
    HIDDEN = "hidden"
    NO_FILE = "that are no files or lead nowhere"
    RUN = "folders of runs"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file to read; ``name``, its path below its source made printable, stands in the ids of its documents."""

    name: str
    content: Content
    source: Source
    fields: tuple[tuple[str, str], ...] = ()
    """What every record of it has besides its own fields: the split of a data set."""

    @property
    def path(self) -> Path | None:
        """Where it is, if that is on this machine."""
        content = self.content.inner if isinstance(self.content, Slice | RowGroups) else self.content
        return content.path if isinstance(content, LocalFile) else None

    def parts(self, size: int) -> list[SourceFile]:
        """The file in parts of about ``size`` bytes, itself where it cannot be cut; each with a part's records.

        The numbers of records, and so the ids of documents, are the same whatever the size.
        """
        return [replace(self, content=part) for part in cut_content(self.content, self.source.wanted(), size)]

    def records(self) -> Iterator[Raw | Rejected]:
        """What the file holds; where the source has pairs, records that lack a side are rejected."""
        target = self.source.target_field
        for record in read(self.content, self.source.wanted()):
            if isinstance(record, Raw):
                record.fields = {**record.fields, **dict(self.fields)}
            if target is None or isinstance(record, Rejected):
                yield record
            elif target not in record.fields:
                others = ", ".join(record.fields)
                reason, detail = f"no text in a field {target!r}", f"other fields with text: {others}"
                yield Rejected(record.number, reason, detail, record.offset, record.member)
            elif not record.text.strip() or not record.fields[target].strip():
                yield Rejected(record.number, "a side of the pair is empty", "", record.offset, record.member)
            else:
                yield record


@dataclass(slots=True)
class Found:
    """The files of all sources in order, and the names of what is left out, by why."""

    files: list[SourceFile] = field(default_factory=list)
    left_out: dict[LeftOut, list[str]] = field(default_factory=dict)

    @property
    def ignored(self) -> list[str]:
        """All that is left out."""
        return [name for names in self.left_out.values() for name in names]

    def leave_out(self, name: str, why: LeftOut) -> None:
        """Write down that it is not read."""
        self.left_out.setdefault(why, []).append(name)

    def lines(self) -> bytes:
        """All that is left out as lines of JSON, each with why."""
        entries = [{"file": name, "why": why.value} for why, names in self.left_out.items() for name in names]
        lines = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)
        return lines.encode(errors="backslashreplace")

    def told(self) -> str:
        """What is left out, in words; nothing where nothing is."""
        parts = []
        for why, names in self.left_out.items():
            endings = Counter(PurePosixPath(name).suffix[:12].lower() or "no ending" for name in names)
            kinds = ", ".join(f"{ending} {count:,}" for ending, count in endings.most_common(5))
            such = kinds if why is LeftOut.KIND else f"such as {shown(names[0])}"
            parts.append(
                f"{len(names):,} {why.value} ({such}{', …' if why is LeftOut.KIND and len(endings) > 5 else ''})"
            )
        return "; ".join(parts)


def find_files(sources: Sequence[Source], *, key: str) -> Found:
    """All files below ``sources``, sorted within each; a file that two sources hold is read once, for the first.

    Names that begin with a dot are ignored, as are files whose ending no reader takes, unless ``read_as`` of the source
    says as what they are read, and folders of runs that are not named by a path or in the fixed part of a pattern.

    Raises:
        InputError: a source is not there, cannot be read, or is a file of a kind that no reader takes.
    """
    found = Found()
    seen: set[str] = set()
    names = _Names()
    for number, source in enumerate(sources):
        where = f"{key}.{number}"
        before = len(found.files)
        if (url := remote_url(source.path)) is not None:
            for name, content in _remote_files(found, url, source, where):
                found.files.append(SourceFile(names.take(name, number), content, source))
            _check_options(source, found.files[before:], where)
            continue
        root, groups = _groups(source.path, where, source.read_as)
        for folder, entries in groups:
            below = printable(folder.relative_to(root) / "_").removesuffix("_")
            may_be_split = has_splits(folder)
            for entry in entries:
                if entry.real in seen:
                    continue
                seen.add(entry.real)
                name = below + printable_name(entry.name)
                if (why := _left_out(entry, source.read_as)) is not None:
                    found.leave_out(name, why)
                    continue
                path = folder / entry.name
                if not os.access(path, os.R_OK):
                    raise InputError(f"{where}: cannot read {path}: permission denied")
                fields = tuple(split_fields(path).items()) if may_be_split else ()
                found.files.append(SourceFile(names.take(name, number), LocalFile(path), source, fields))
        _check_options(source, found.files[before:], where)
    return found


class _Names:
    """The names that files have, so that an id means one document: none is that of another file, nor of a member of an
    archive, such as ``a.zip!/b.txt``, whichever of the two comes first."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._archives: set[str] = set()

    def take(self, name: str, number: int) -> str:
        """The name, behind the number of its source where it is not free."""
        while name in self._taken or name in self._archives or self._taken & _archives_of(name):
            name = f"{number}:{name}"
        self._taken.add(name)
        self._archives |= _archives_of(name)
        return name


def _archives_of(name: str) -> set[str]:
    """The names of the archives that a file of this name could be a member of."""
    return {name[: mark.start()] for mark in re.finditer("!/", name)} if "!/" in name else set()


def _left_out(entry: Entry, read_as: str | None) -> LeftOut | None:
    """Why something below a source is not read; None where it is."""
    if entry.name.startswith("."):
        return LeftOut.HIDDEN
    if entry.is_run:
        return LeftOut.RUN
    if kind(entry.name) is None and (read_as is None or not entry.is_file):
        return LeftOut.KIND
    return None if entry.is_file else LeftOut.NO_FILE


def _remote_files(found: Found, url: str, source: Source, where: str) -> Iterator[tuple[str, RemoteFile]]:
    """The files at an address that are read, and their names; ``found`` is told of the others."""
    files = find_remote(url, where, source.cache)
    for name, content in files:
        if name.rpartition("/")[2].startswith(".") or kind(content.name, source.read_as) is None:
            if len(files) == 1 and not name.startswith("."):
                raise InputError(f"{where}: cannot tell how to read {url} by its ending {_choices()}")
            found.leave_out(name, LeftOut.HIDDEN if name.rpartition("/")[2].startswith(".") else LeftOut.KIND)
        else:
            yield name, content


def _choices() -> str:
    """What can be done about an ending that no reader takes."""
    return f"(choices: {', '.join(catalog.names('reader'))}; read_as of the source says as which another is taken)"


def _groups(path: Path, where: str, read_as: str | None) -> tuple[Path, Iterable[Group]]:
    """The folder that names begin below, and the files of a source in sorted order, by folder."""
    if path.exists() or not any(sign in str(path) for sign in "*?["):
        _check_exists(path, where, read_as)
        return (path if path.is_dir() else path.parent), walk(path, where)
    plain = list(takewhile(lambda part: not any(sign in part for sign in "*?["), path.parts))
    root = Path(*plain)
    matched = sorted(root.glob(str(Path(*path.parts[len(plain) :]))))
    if not matched:
        raise InputError(f"{where}: no file or folder matches {str(path)!r}")
    return root, walk_matched(root, matched, where)


def _check_options(source: Source, files: Sequence[SourceFile], where: str) -> None:
    """Refuse a setting that concerns none of the files; what archives hold is not known yet."""
    kinds = {kind(file.name, source.read_as) for file in files}
    for name, endings in CONCERNED.items():
        default = Source.model_fields[name].default
        if files and kinds <= PLAIN and not kinds & endings and getattr(source, name) != default:
            raise InputError(f"{where}.{name}: no file in {source.path} is of a kind that it concerns")


def _check_exists(path: Path, where: str, read_as: str | None) -> None:
    if not path.exists():
        parent = path.parent
        beside = [str(parent / other.name) for other in parent.iterdir()] if parent.is_dir() else []
        near = difflib.get_close_matches(str(path), beside, n=1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"{where}: no file or folder {str(path)!r}{meant}")
    if path.is_file() and kind(path.name, read_as) is None:
        raise InputError(f"{where}: cannot tell how to read {str(path)!r} by its ending {_choices()}")

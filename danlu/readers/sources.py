"""Where text comes from: the sources that a recipe names, and the files below them."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import Field, SkipValidation, field_validator, model_validator

from danlu import catalog
from danlu.errors import InputError
from danlu.readers.reading import read, reader_for
from danlu.readers.record import Content, LocalFile, Raw, Rejected, Wanted, printable
from danlu.recipe import OneOf, Settings
from danlu.text.cuts import Cut, Whole


class Source(Settings):
    """A file or folder of text; the path alone will do where the defaults fit."""

    short: ClassVar[str | None] = "path"

    path: Path
    """A file, or a folder that is searched; relative to the current directory."""
    language: str | None = None
    """The language of all its text (ISO 639-1: en, zh); detected for each document where not given."""
    text_field: str = Field(default="text", min_length=1)
    """The field of a .jsonl record, or the column of a .parquet file, that holds the text."""
    target_field: str | None = Field(default=None, min_length=1)
    """The field of what belongs to that text, such as its translation or its summary: a document is then a pair, for
    the objective ``seq2seq``."""
    documents: Annotated[SkipValidation[Cut], OneOf("documents")] = Whole()
    """What one document is: the whole record (a .txt file is one record), its lines, paragraphs or blocks."""

    @field_validator("language")
    @classmethod
    def _language_code(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[a-z]{2,3}(-[A-Za-z0-9]+)*", value):
            raise ValueError(f"must be a language code such as en or zh; got {value!r}")
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
        return Wanted(self.text_field, self.target_field, self.documents)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file to read; ``name``, its path below its source made printable, stands in the ids of its documents."""

    name: str
    content: Content
    source: Source

    @property
    def path(self) -> Path | None:
        """Where it is, if that is on this machine."""
        return self.content.path if isinstance(self.content, LocalFile) else None

    def records(self) -> Iterator[Raw | Rejected]:
        """What the file holds; where the source has pairs, records that lack a side are rejected."""
        target = self.source.target_field
        for record in read(self.content, self.source.wanted()):
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
    """The files of all sources in order, and the names of those that no reader takes."""

    files: list[SourceFile] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


def find_files(sources: Sequence[Source], *, key: str) -> Found:
    """All files below ``sources``, sorted within each; a file that two sources hold is read once, for the first.

    Names that begin with a dot are ignored, as are files whose ending no reader takes.

    Raises:
        InputError: a source is not there, cannot be read, or is a file of a kind that no reader takes.
    """
    found = Found()
    seen: set[Path] = set()
    names: set[str] = set()
    for number, source in enumerate(sources):
        where = f"{key}.{number}"
        _check_exists(source.path, where)
        root = source.path if source.path.is_dir() else source.path.parent
        for path in _walk(source.path, where):
            if path.resolve() in seen:
                continue
            seen.add(path.resolve())
            name = printable(path.relative_to(root))
            if path.name.startswith(".") or not path.is_file() or reader_for(path.name) is None:
                found.ignored.append(name)
                continue
            if not os.access(path, os.R_OK):
                raise InputError(f"{where}: cannot read {path}: permission denied")
            while name in names:  # in another source, or printed alike; but an id means one document
                name = f"{number}:{name}"
            names.add(name)
            found.files.append(SourceFile(name, LocalFile(path), source))
    return found


def _check_exists(path: Path, where: str) -> None:
    if not path.exists():
        parent = path.parent
        beside = [str(parent / other.name) for other in parent.iterdir()] if parent.is_dir() else []
        near = difflib.get_close_matches(str(path), beside, n=1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"{where}: no file or folder {str(path)!r}{meant}")
    if path.is_file() and reader_for(path.name) is None:
        suffixes = ", ".join(catalog.names("reader"))
        raise InputError(f"{where}: cannot tell how to read {str(path)!r} by its ending (choices: {suffixes})")


def _walk(path: Path, where: str) -> Iterator[Path]:
    """The files below ``path`` in sorted order, and the hidden folders; linked folders are followed once."""
    if not path.is_dir():
        yield path
        return
    walked: set[str] = set()
    for folder, folders, files in os.walk(path, onerror=_refuse(where), followlinks=True):
        real = os.path.realpath(folder)
        if real in walked:
            folders.clear()
            continue
        walked.add(real)
        hidden = [name for name in folders if name.startswith(".")]
        folders[:] = sorted(set(folders) - set(hidden))
        for name in sorted([*files, *hidden]):
            yield Path(folder, name)


def _refuse(where: str) -> Callable[[OSError], None]:
    def refuse(error: OSError) -> None:
        raise InputError(f"{where}: cannot read the folder {error.filename}: {error.strerror}")

    return refuse

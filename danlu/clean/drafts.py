"""The first pass: the documents of each portion that the rules leave, what became of the others, and sketches.

A draft is a folder that appears whole, so that a killed run goes on with those that are missing:

    documents.jsonl   what the rules leave, as a shard
    table.npy         of each of them: where its line begins, its size and that as it came, its language and part
    dropped.jsonl     id, offset and reason of each of the others, and which rule it was
    examples.jsonl    some of these, to be read
    quarantine.jsonl  records that cannot be read
    counts.json       of what did not stay, by part of the sources
    files.json        what was read, with its hashes (lineage.py)
    made_from.txt     a hash of the settings and of the portion
    sketches-N        what the N-th choice of clean.duplicates needs to know of each document

Beside them ``.learned`` has what rules learned before the first draft (learned.py).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from danlu.clean.arrays import Growing
from danlu.clean.counts import Counts, Size
from danlu.clean.duplicates import DuplicatesChoice, Sketches
from danlu.clean.learned import ready
from danlu.clean.lineage import files_read, where
from danlu.clean.portions import Portion
from danlu.clean.private import Private, hide_names
from danlu.clean.rules import Rule, RuleChoice
from danlu.clean.samples import Example, Examples, order_of, write_examples
from danlu.files import write_json
from danlu.readers.record import LocalFile, Raw, Rejected
from danlu.readers.sources import SourceFile
from danlu.text.document import OFFSET, Document
from danlu.text.encodings import ENCODINGS
from danlu.text.language import UNKNOWN
from danlu.workers.drafts import FOLDER, appearing, check_unchanged, draft_folder, missing

ROW = np.dtype(
    [(name, "<i8") for name in ("offset", "characters", "bytes", "characters_in", "bytes_in")]
    + [("part", "<i4"), ("order", "S16"), ("language", "S40")]
)
TOGETHER, CHARACTERS = 256, 4_000_000
"""Documents of which all that is known is written at once, and about how much of them."""


PRIVATE_MEMBERS = "private_members.json"

Documents = Callable[[SourceFile, Raw], Iterator[Document]]
"""From a record to its documents, which no rule has seen."""


@dataclass(frozen=True)
class Draft:
    """What was made of a portion, on disk."""

    folder: Path

    @classmethod
    def of(cls, out: Path, portion: int) -> Draft:
        return cls(draft_folder(out, portion))

    @property
    def documents(self) -> Path:
        return self.folder / "documents.jsonl"

    def __len__(self) -> int:
        return len(np.load(self.folder / "table.npy", mmap_mode="r"))

    def table(self) -> np.ndarray[Any, Any]:
        """``[documents]`` of ``ROW``, mapped; what is changed in it does not come into the file."""
        table: np.ndarray[Any, Any] = np.load(self.folder / "table.npy", mmap_mode="c")
        return table

    def counts(self) -> dict[int, Counts]:
        """Of what the rules dropped and what could not be read, by part; what is kept is not decided yet."""
        read = json.loads((self.folder / "counts.json").read_text())
        return {int(part): Counts.from_json(counts) for part, counts in read.items()}

    def private_members(self) -> int:
        """How many names of members of archives hold private data."""
        path = self.folder / PRIVATE_MEMBERS
        return int(json.loads(path.read_text())) if path.exists() else 0  # none in a draft of an earlier version

    def sketches(self, choice: int) -> Path:
        return self.folder / f"sketches-{choice}"


@dataclass(frozen=True)
class Drafting:
    """Makes drafts below ``out``; picklable, and a process calls it once."""

    documents: Documents
    rules: Sequence[RuleChoice]
    duplicates: Sequence[DuplicatesChoice]
    out: Path
    settings: str = ""
    """All that the result depends on beside the portions."""
    learned: tuple[Path | None, ...] = ()
    """Of each rule the file of what it learned; with none, rules that learn do it in each process."""

    @property
    def learned_folder(self) -> Path:
        """Where these files lie; a run that goes on finds them."""
        return self.out / FOLDER / ".learned"

    def missing(self, todo: Sequence[Portion]) -> list[tuple[Portion, str]]:
        """Those without a draft that was made of them, with these settings, and what they are made from; drafts of
        other things go."""
        wanted = {portion.number: (portion, self.made_from(portion)) for portion in todo}
        return [wanted[each.number] for each in missing(self.out, wanted, beside=[self.learned_folder])]

    def made_from(self, portion: Portion) -> str:
        """A hash of all that its draft depends on; of a file here, its size and when it changed."""
        files = [(file.name, repr(file.content), *_state(file)) for file in portion.files]
        return hashlib.blake2b(
            repr((self.settings, files, portion.parts)).encode(errors="surrogatepass"), digest_size=16
        ).hexdigest()

    def __call__(self) -> Callable[[tuple[Portion, str]], int]:
        """From a portion, and what it is made from as the run began, to how many bytes were read for its draft."""
        judge, hide = _judging(self.rules, self.learned or (None,) * len(self.rules)), hide_names(self.rules)

        def make(todo: tuple[Portion, str]) -> int:
            portion, made_from = todo
            self._check_unchanged(portion, made_from)
            with appearing(self.out, portion.number, made_from) as folder:
                records = self._write(portion, folder, judge, hide)
                read = self._files_read(portion, records, made_from)
                (folder / "files.json").write_text(json.dumps(read), encoding="ascii")  # whatever a path is made of
            return portion.size

        return make

    def _write(
        self, portion: Portion, folder: Path, judge: Callable[[Document], Judged], hide: Callable[[str], str]
    ) -> Counter[int]:
        """Write what the rules leave of a portion, and what became of the rest; how many records each file has."""
        places = {id(file): place for place, file in enumerate(portion.files)}
        records: Counter[int] = Counter()
        members = _Members(hide)
        with _Writing(folder, self.duplicates) as writing:
            for part, file, record in portion.records_in_parts():
                records[places[id(file)]] += 1
                writing.begin(part)
                members.see(file, record.member)
                if isinstance(record, Rejected):
                    writing.quarantine(file, replace(record, detail=hide(record.detail)))
                    continue
                document: Document | None = None
                for document in self.documents(file, record):
                    came = Size.of(document.text)
                    rule, reason, unseen = judge(document)
                    if reason is None:
                        writing.keep(document, came)
                    else:
                        writing.drop(document, (rule, reason), came, unseen)
                if document is None:  # cut into lines or paragraphs, of which it has none
                    writing.drop(_blank(file, record), (None, "empty"), Size(0, 0), [])
        (folder / PRIVATE_MEMBERS).write_text(str(members.private))
        return records

    def _files_read(self, portion: Portion, records: Counter[int], made_from: str) -> list[dict[str, Any]]:
        """What was read, for JSON; that it was not written to while it was read, or hashed, is checked."""
        try:
            return [each.told() for each in files_read(portion, records)]
        finally:
            self._check_unchanged(portion, made_from)

    def _check_unchanged(self, portion: Portion, made_from: str) -> None:
        files = f"clean.sources: {portion.named}"
        check_unchanged(files, lambda: self.made_from(portion), made_from, began="clean")


def _state(file: SourceFile) -> tuple[int | None, int | None]:
    """How large a file is, or the part of one, and when the file on this machine changed."""
    if file.path is None:
        return file.content.size, None
    now = file.path.stat()
    return now.st_size if isinstance(file.content, LocalFile) else file.content.size, now.st_mtime_ns


class _Members:
    """Counts members of archives whose names hold private data; the records of one come together."""

    def __init__(self, hide: Callable[[str], str]) -> None:
        self.private = 0
        self._hide = hide
        self._last: tuple[str, str] | None = None

    def see(self, file: SourceFile, member: str | None) -> None:
        if member and (file.name, member) != self._last:
            self._last = file.name, member
            self.private += self._hide(member) != member


def record_id(file: SourceFile, record: Raw) -> str:
    """The id of the document that a record is; documents within it have theirs behind a dot."""
    inside = f"!/{record.member}" if record.member else ""
    return f"{file.name}{inside}#{record.number}"


def place_of(record: Raw) -> dict[str, str]:
    """What ``meta`` says of where a record stands in its file."""
    return {} if record.offset is None else {OFFSET: str(record.offset)}


def _blank(file: SourceFile, record: Raw) -> Document:
    """A record that holds no document."""
    return Document(record_id(file, record), "", {**place_of(record), "language": file.source.language or UNKNOWN})


Judged = tuple[int | None, str | None, Sequence[Rule]]
"""The number of the first rule that drops a document, why, and the rules about private data that have not seen it then;
None and None where none does."""


def _judging(choices: Sequence[RuleChoice], learned: Sequence[Path | None]) -> Callable[[Document], Judged]:
    rules = [(ready(choice, path), isinstance(choice, Private)) for choice, path in zip(choices, learned, strict=True)]

    def judge(document: Document) -> Judged:
        for number, (rule, _) in enumerate(rules):
            if (reason := rule(document)) is not None:
                return number, reason, [later for later, is_private in rules[number + 1 :] if is_private]
        return None, None, []

    return judge


def fallen(document: Document, reason: str) -> dict[str, Any]:
    """What ``dropped.jsonl`` says of a document: which, at which byte of its file, and why it is not there."""
    place = {OFFSET: int(document.meta[OFFSET])} if OFFSET in document.meta else {}
    return {"id": document.id, **place, "reason": reason}


class _Writing:
    """The files of one draft while they grow."""

    def __init__(self, folder: Path, duplicates: Sequence[DuplicatesChoice]) -> None:
        self._folder = folder
        self._by_part: dict[int, Counts] = {}
        self._examples = Examples()
        self._table = Growing(folder / ".table", np.empty(0, ROW))
        self._rows: list[tuple[int, int, int, int, int, int, bytes, bytes]] = []
        self._texts: list[str] = []
        paths = (folder / f"sketches-{number}" for number in range(len(duplicates)))
        self._sketches = [Sketches(choice, path) for choice, path in zip(duplicates, paths, strict=True)]
        self._offset = self._characters = 0

    def __enter__(self) -> _Writing:
        with ExitStack() as stack:
            self._documents, self._dropped, self._quarantine = (
                stack.enter_context((self._folder / name).open("wb"))
                for name in ("documents.jsonl", "dropped.jsonl", "quarantine.jsonl")
            )
            self._stack = stack.pop_all()
        return self

    def begin(self, part: int) -> None:
        """Go on with a record of that part of the sources."""
        self._part = part
        self._counts = self._by_part.setdefault(part, Counts())
        self._counts.records += 1

    def drop(self, document: Document, dropped: tuple[int | None, str], came: Size, unseen: Sequence[Rule]) -> None:
        """Write down by which rule a document is ``dropped``, if by one, and why.

        An example of it shows nothing that the rules ``unseen`` would hide.
        """
        rule, reason = dropped
        self._count(document)
        self._counts.drop(reason, document.meta["language"], came)
        line = {**fallen(document, reason), **({} if rule is None else {"rule": rule})}
        if self._examples.wants(reason, order_of(document.id)):
            if any(hide(document) is not None for hide in unseen):
                document.text = ""
            self._examples.add(Example.of_document(document, reason, characters=came.characters))
        write_line(self._dropped, line)

    def keep(self, document: Document, came: Size) -> None:
        """Write a document down, which duplicates may still drop."""
        self._count(document)
        line = document.line()
        self._documents.write(line)
        language, order = document.meta["language"].encode(), order_of(document.id).encode()
        self._rows.append((self._offset, *Size.of(document.text), *came, self._part, order, language))
        self._offset += len(line)
        if self._sketches:
            self._texts.append(document.text)
            self._characters += len(document.text)
        if len(self._rows) == TOGETHER or self._characters >= CHARACTERS:
            self._write()

    def _count(self, document: Document) -> None:
        self._counts.documents_in += 1
        if (encoding := document.meta.get("encoding")) in ENCODINGS:
            self._counts.encodings[encoding] += 1

    def quarantine(self, file: SourceFile, rejected: Rejected) -> None:
        """Write down what cannot be read, and where it stands."""
        self._counts.documents_in += 1
        self._counts.quarantined[rejected.reason] += 1
        entry = {
            "file": where(file.content),
            **({"member": rejected.member} if rejected.member else {}),
            "record": rejected.number,
            **({"offset": rejected.offset} if rejected.offset is not None else {}),
            "reason": rejected.reason,
            "detail": rejected.detail,
        }
        write_line(self._quarantine, entry)

    def _write(self) -> None:
        """Write what is known of the last documents kept."""
        for sketches in self._sketches:
            sketches.add(self._texts)
        self._table.add(np.array(self._rows, dtype=ROW))
        self._texts.clear()
        self._rows.clear()
        self._characters = 0

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stack.close()
        if kind is None:
            self._write()
        for sketches in self._sketches:
            sketches.close(whole=kind is None)
        with self._table.closed() as table:
            if kind is not None:
                return
            np.save(self._folder / "table.npy", table)
        write_examples(self._folder / "examples.jsonl", self._examples)
        counts = {str(part): counts.to_json() for part, counts in self._by_part.items()}
        write_json(self._folder / "counts.json", counts)


def write_line(file: BinaryIO, entry: dict[str, Any]) -> None:
    """One line of JSON; half a surrogate pair, from a field's name or a path that is no UTF-8, as JSON's own escape."""
    file.write(json.dumps(entry, ensure_ascii=False).encode(errors="backslashreplace") + b"\n")

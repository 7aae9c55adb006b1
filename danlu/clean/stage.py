"""The stage ``clean``: raw files in, document shards and a count of everything left out.

*in = kept + dropped + quarantined* holds exactly. A document is dropped by a rule, for a reason; a
record that cannot be read is quarantined: ``quarantine.jsonl`` names its file, its number and why.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SkipValidation

from danlu import catalog, log
from danlu.clean.rules import Empty, ExactDuplicate, RuleChoice
from danlu.errors import InputError
from danlu.files import write_json
from danlu.readers.record import Raw, Rejected
from danlu.readers.sources import Found, Source, SourceFile, find_files
from danlu.recipe import OneOf
from danlu.runs import Figures, Job, Stage
from danlu.text.cuts import Whole
from danlu.text.document import TARGET_START, Document, DocumentWriter, pair
from danlu.text.language import detect_language
from danlu.text.normalise import Form, normalise


@dataclass(slots=True)
class Counts:
    """What went in, what came out, and what became of the rest."""

    files: int = 0
    ignored: int = 0
    documents_in: int = 0
    kept: int = 0
    characters: int = 0
    bytes: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)
    language_documents: Counter[str] = field(default_factory=Counter)
    language_bytes: Counter[str] = field(default_factory=Counter)

    def keep(self, document: Document) -> None:
        """Count a document that stays."""
        size = len(document.text.encode())
        self.kept += 1
        self.characters += len(document.text)
        self.bytes += size
        self.language_documents[document.meta["language"]] += 1
        self.language_bytes[document.meta["language"]] += size

    def check(self) -> None:
        """Hold the promise that nothing goes missing."""
        accounted = self.kept + self.dropped.total() + self.quarantined.total()
        assert self.documents_in == accounted, (self.documents_in, accounted)

    def summary(self) -> str:
        """In words: ``of 3 records 1 kept, 1 dropped (empty 1), 1 quarantined (not UTF-8 1)``."""
        parts = [f"of {self.documents_in} records {self.kept} kept"]
        for title, counter in (("dropped", self.dropped), ("quarantined", self.quarantined)):
            if counter:
                reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(counter.items()))
                parts.append(f"{counter.total()} {title} ({reasons})")
        return ", ".join(parts)

    def drops(self) -> dict[str, Any]:
        """What ``drops.json`` holds."""
        return {
            "in": self.documents_in,
            "kept": self.kept,
            "dropped": dict(sorted(self.dropped.items())),
            "quarantined": dict(sorted(self.quarantined.items())),
        }

    def figures(self) -> Figures:
        """A flat table, reasons and languages sorted."""
        figures: Figures = {
            "files": self.files,
            "files_ignored": self.ignored,
            "documents_in": self.documents_in,
            "documents_kept": self.kept,
            "documents_dropped": self.dropped.total(),
            "documents_quarantined": self.quarantined.total(),
            "characters": self.characters,
            "bytes": self.bytes,
        }
        for title, counter in (("dropped", self.dropped), ("quarantined", self.quarantined)):
            figures.update({f"{title}.{reason}": count for reason, count in sorted(counter.items())})
        for language in sorted(self.language_documents):
            figures[f"language.{language}.documents"] = self.language_documents[language]
            figures[f"language.{language}.bytes"] = self.language_bytes[language]
        return figures


class Clean(Stage):
    """Read text files, bring them to one form, drop what no model should learn."""

    sources: tuple[Source, ...] = Field(min_length=1)
    """Files and folders of text (.txt .jsonl .jsonl.gz .parquet); each a path, or a mapping with ``path``."""
    form: Form = "NFC"
    """The Unicode normal form. NFKC also makes half-width what is full-width, which harms Chinese punctuation."""
    repair: bool = False
    """Mend text that was decoded wrongly (``cafÃ©``) with ftfy; about 40 times slower."""
    rules: Annotated[tuple[SkipValidation[RuleChoice], ...], OneOf("rule")] = (Empty(), ExactDuplicate())
    """Rules that drop documents, in this order."""

    def external_files(self) -> list[Path]:
        files = [file.path for file in self.find().files]
        return files + [path for choice in self.rules for path in getattr(choice, "external_files", list)()]

    def find(self) -> Found:
        """The files that the sources hold."""
        return find_files(self.sources, key="clean.sources")

    def run(self, job: Job) -> Figures:
        """Write document shards, ``quarantine.jsonl`` and ``drops.json``.

        Raises:
            InputError: no document is left; the line says what became of them.
        """
        found = self.find()
        if not found.files:
            raise InputError(self._nothing_to_read(found))
        counts = Counts(files=len(found.files), ignored=len(found.ignored))
        for choice in self.rules:
            for line in getattr(choice, "notes", list)():
                log.say(line)
        drops = [choice.make() for choice in self.rules]
        with DocumentWriter(job.out) as writer, (job.out / "quarantine.jsonl").open("wb") as quarantine:
            for file, record in self._records(found.files):
                counts.documents_in += 1
                if isinstance(record, Rejected):
                    counts.quarantined[record.reason] += 1
                    quarantine.write(_quarantine_line(file, record))
                    continue
                reason = next((reason for drop in drops if (reason := drop(record)) is not None), None)
                if reason is not None:
                    counts.dropped[reason] += 1
                    continue
                counts.keep(record)
                writer.write(record)
        counts.check()
        write_json(job.out / "drops.json", counts.drops())
        if counts.kept == 0:
            raise InputError(f"clean: no document is left; {counts.summary()}")
        if counts.quarantined:
            log.say(f"clean: {counts.summary()}; see {job.out / 'quarantine.jsonl'}")
        return counts.figures()

    def _records(self, files: list[SourceFile]) -> Iterator[tuple[SourceFile, Document | Rejected]]:
        """Every record of every file, normalised, cut into documents, its language named."""
        sizes = [file.path.stat().st_size for file in files]
        read_bytes = 0
        with log.progress("clean", sum(sizes), "bytes") as progress:
            for file, size in zip(files, sizes, strict=True):
                progress.update(read_bytes, file=file.name)
                for record in file.records():
                    if isinstance(record, Rejected):
                        yield file, record
                    else:
                        yield from ((file, document) for document in self.documents(file, record))
                read_bytes += size
            progress.update(read_bytes)

    def documents(self, file: SourceFile, record: Raw) -> Iterator[Document]:
        """The documents of one record: normalised, cut, their language named; no rule has seen them."""
        text = normalise(record.text, form=self.form, repair=self.repair)
        extra: dict[str, str] = {}
        if (target := file.source.target_field) is not None:
            text, extra = pair(text, normalise(record.fields[target], form=self.form, repair=self.repair))
        cut = file.source.documents
        for piece_number, piece in enumerate(cut.pieces(text)):
            number = str(record.number) if isinstance(cut, Whole) else f"{record.number}.{piece_number}"
            language = file.source.language or detect_language(piece)
            fields = {name: value for name, value in record.fields.items() if name not in (target, TARGET_START)}
            meta = {**fields, **extra, "source": file.name, "language": language}
            yield Document(id=f"{file.name}#{number}", text=piece, meta=meta)

    def _nothing_to_read(self, found: Found) -> str:
        places = ", ".join(str(source.path) for source in self.sources)
        ignored = f"; {len(found.ignored)} other files are there" if found.ignored else ""
        return f"clean.sources: no file in {places} ends in {' '.join(catalog.names('reader'))}{ignored}"


def _quarantine_line(file: SourceFile, rejected: Rejected) -> bytes:
    entry = {"file": str(file.path), "record": rejected.number, "reason": rejected.reason, "detail": rejected.detail}
    # Half a surrogate pair, from a field's name or a path that is not UTF-8, becomes JSON's own escape for it.
    return json.dumps(entry, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"

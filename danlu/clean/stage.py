"""The stage ``clean``: raw files in, document shards and a count of everything left out.

*in = kept + dropped + quarantined* holds exactly. A document is dropped by a rule or because it repeats another, for a
reason; a record that cannot be read is quarantined: ``quarantine.jsonl`` names its file, its number and why.

It works in three passes over portions of the files (``portions.py``): drafts of what the rules leave (``drafts.py``),
what repeats what among all of them (``duplicates.py``), and the shards of what stays (``final.py``).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, SkipValidation

from danlu import catalog, log
from danlu.clean.counts import Counts
from danlu.clean.data_card import FILE as CARD
from danlu.clean.data_card import data_card
from danlu.clean.drafts import Draft, Drafting, place_of, record_id
from danlu.clean.duplicates import DuplicatesChoice, Sketched, deciding_order
from danlu.clean.entries import OURS
from danlu.clean.exact import Exact
from danlu.clean.final import Finishing, Ruling
from danlu.clean.groups import Groups
from danlu.clean.language_of import Language
from danlu.clean.learned import learn_all
from danlu.clean.lineage import DECIDING, FILE, PORTIONS, BySource, PortionLine, lineage
from danlu.clean.numbering import Numbering
from danlu.clean.portions import Portion, portions
from danlu.clean.private import hide_names
from danlu.clean.report import report_page
from danlu.clean.rules import Empty, RuleChoice
from danlu.clean.samples import write_examples
from danlu.clean.source_parts import SourcePart, source_parts
from danlu.clean.substrings import notes_on_order
from danlu.clean.tally import Tally
from danlu.errors import InputError
from danlu.files import atomic_write, hash_file, write_json
from danlu.readers.listing import files_of, listed_once
from danlu.readers.record import Raw
from danlu.readers.remote import RemoteFile
from danlu.readers.sources import Found, Source, SourceFile
from danlu.recipe import OneOf
from danlu.stage import Figures, Job, Stage, recorded
from danlu.text.chinese import convert_document
from danlu.text.cuts import Whole
from danlu.text.document import Document, pair
from danlu.text.normal_form import Normalise
from danlu.text.normalise import normalise
from danlu.workers.drafts import FOLDER, how_many, throw_away
from danlu.workers.processes import Workers
from danlu.workers.ray_workers import RayWorkers

LEFT_OUT = "left_out.jsonl"
PORTION_BYTES = 32_000_000
"""As stored: enough that a process has something to do, and little enough that all have."""


class Clean(Stage):
    """Read text files, bring them to one form, drop what no model should learn."""

    resumable: ClassVar[bool] = True
    unrecorded: ClassVar[tuple[str, ...]] = ("workers", "ray", "duplicates.*.memory", "sources.*.cache")

    sources: tuple[Source, ...] = Field(min_length=1)
    """Files, folders and patterns (docs/guides/clean.md lists what can be read); each a
    path, or a mapping with ``path``."""
    normalise: Normalise = Normalise()
    """The form that every text is brought to."""
    language: Language = Language()
    """How languages are named."""
    rules: Annotated[tuple[SkipValidation[RuleChoice], ...], OneOf("rule")] = (Empty(),)
    """What drops single documents, or mends them, in this order."""
    duplicates: Annotated[tuple[SkipValidation[DuplicatesChoice], ...], OneOf("duplicates")] = (Exact(),)
    """What drops or cuts what stands in several documents, once the rules are through; in this order."""
    workers: int | None = Field(default=None, ge=1)
    """Processes; by default all cores, or all of the cluster. Their number changes nothing in the result."""
    ray: str | None = Field(default=None, min_length=1)
    """The address of a Ray cluster whose processes do the work: ``auto``, ``HOST:PORT``, or ``local`` for a new one; it
    changes nothing in the result. All its machines must see the sources and ``run_dir`` at the same paths."""

    def external_files(self) -> list[Path]:
        files = [file.path for file in self.find().files if file.path is not None]
        return files + self._rule_files()

    def _rule_files(self) -> list[Path]:
        return [path for choice in self.rules for path in getattr(choice, "external_files", list)()]

    def external_stamps(self) -> list[list[str]]:
        contents = [file.content for file in self.find().files]
        return [[content.url, content.stamp] for content in contents if isinstance(content, RemoteFile)]

    def looking(self) -> AbstractContextManager[None]:
        return listed_once()

    def progress(self, out: Path) -> str | None:
        done = how_many(out)
        return f"{done} portions of the text are read" if done else None

    def find(self) -> Found:
        """The files that the sources hold."""
        return files_of(self.sources, key="clean.sources")

    def run(self, job: Job) -> Figures:
        """Write document shards, and beside them what became of everything: lists, counts, examples, lineage
        (``lineage.json``, ``lineage.jsonl``), ``data_card.md`` and ``report.html``.

        Raises:
            InputError: no document is left; the line says what became of them.
        """
        found = self.find()
        if not found.files:
            raise InputError(self._nothing_to_read(found))
        for line in self._notes(found):
            log.say(line)
        try:
            todo = portions(found.files, size=PORTION_BYTES)
        except OSError as error:
            place = error.filename or "a file"
            raise InputError(
                f"clean.sources: {place}, found as clean began, cannot be read: {error.strerror}"
            ) from None
        with self._workers(job.out) as workers:
            self._draft(todo, job.out, workers)
            for line in self._notes_on_members(todo, job.out):
                log.say(line)
            rulings = self._decide(todo, job.out)
            each, tally = self._finish(rulings, job.out, workers, source_parts(found.files)[0])
        counts = tally.total()
        counts.check()
        self._trace(todo, each, found, job.out)
        atomic_write(job.out / LEFT_OUT, found.lines())
        write_examples(job.out / "examples.jsonl", tally.dropped)
        write_examples(job.out / "examples_kept.jsonl", tally.kept)
        write_json(job.out / "drops.json", counts.drops())
        write_json(job.out / "counts.json", tally.to_json())
        shown = {**recorded(self), "sources": self._shown(recorded(self)["sources"])}
        atomic_write(job.out / "report.html", report_page(tally, title=job.recipe.name, settings=shown))
        for left in job.out.glob(".documents-*"):  # shards in part
            left.unlink(missing_ok=True)
        if counts.kept == 0:
            throw_away(job.out)  # the drafts are of no use to other settings, which are wanted now
            raise InputError(f"clean: no document is left; {counts.summary()}; what and why: {job.out}")
        if counts.quarantined:
            log.say(f"clean: {counts.summary()}; see {job.out / 'quarantine.jsonl'}")
        log.say(f"clean: report: {job.out / 'report.html'}")
        return {"files": len(found.files), "files_ignored": len(found.ignored), **counts.figures()}

    def tidy(self, out: Path) -> None:
        throw_away(out)

    def _notes(self, found: Found) -> Iterator[str]:
        """What a user should know before a run."""
        if found.ignored:
            yield f"clean: left out: {found.told()}; each of them in {LEFT_OUT}"
        yield from notes_on_order(self.duplicates)
        hide = hide_names(self.rules)
        names = [*(file.name for file in found.files), *found.ignored]
        if private := sum(hide(name) != name for name in names):
            where = f"names of files ({private} of {len(names)})"
            yield f"clean: private data stands in {where}, which ids and the lists beside the shards keep: rename them"

    def _notes_on_members(self, todo: list[Portion], out: Path) -> Iterator[str]:
        """What is known of names in archives once they have been read."""
        if private := sum(Draft.of(out, portion.number).private_members() for portion in todo):
            where = f"names of members of archives ({private})"
            yield f"clean: private data stands in {where}, which ids and the lists beside the shards keep: rename them"

    def _workers(self, out: Path) -> Workers | RayWorkers:
        if self.ray is None:
            return Workers("clean", self.workers)
        return RayWorkers("clean", self.workers, address=self.ray, out=out, packages=DECIDING)

    def _draft(self, todo: list[Portion], out: Path, workers: Workers | RayWorkers) -> None:
        """The first pass, over the portions that have no draft yet, or one that was made of something else."""
        decides = [recorded(self), [hash_file(file) for file in self._rule_files()]]
        settings = json.dumps(decides, sort_keys=True, default=str)
        drafting = Drafting(self.documents, self.rules, self.duplicates, out.absolute(), settings)
        missing = drafting.missing(todo)
        if missing:
            drafting = replace(drafting, learned=learn_all(self.rules, drafting.learned_folder))
        all_bytes = sum(portion.size for portion in todo)
        read_bytes = all_bytes - sum(portion.size for portion, _ in missing)
        with log.progress("clean", all_bytes, "bytes") as progress:
            progress.update(read_bytes)
            for size in workers.work_through(drafting, missing, named=lambda each: each[0].named):
                read_bytes += size
                progress.update(read_bytes)

    def _decide(self, todo: list[Portion], out: Path) -> list[Ruling]:
        """The second pass, in this process: it needs the sketches of all."""
        rulings = [Ruling(portion.number) for portion in todo]
        for number in deciding_order(self.duplicates):
            choice = self.duplicates[number]
            folder = _empty(out / FOLDER / f".decided-{number}")
            sketched = [
                Sketched(Draft.of(out, portion.number).sketches(number), str(portion.source.path), ruling.cuts)
                for portion, ruling in zip(todo, rulings, strict=True)
            ]
            decided = choice.decide(sketched, folder)
            rulings = [ruling.then(choice.reason, cuts) for ruling, cuts in zip(rulings, decided, strict=True)]
        return rulings

    def _finish(
        self, rulings: list[Ruling], out: Path, workers: Workers | RayWorkers, parts: list[SourcePart]
    ) -> tuple[list[Counts], Tally]:
        """The last pass; counts of each portion, and all there is to tell of them together."""
        for shard in out.glob("documents-*.jsonl"):  # of a run that was killed here, and went on with other settings
            shard.unlink()
        hide = hide_names(self.rules)
        groups = Groups(_empty(out / FOLDER / ".groups"), Numbering.of(out).firsts[-1])
        counts = [Counts() for _ in rulings]
        tally = Tally([replace(part, name=hide(part.name), source=hide(part.source)) for part in parts], groups)
        finishing = Finishing(out.absolute())
        for outcome in workers.work_through(finishing, rulings, named=lambda each: f"shard {each.portion}"):
            counts[outcome.portion] = sum(outcome.counts.values(), Counts())
            tally.add(outcome.counts)
            for reason, firsts in outcome.repeated.items():
                groups.add(reason, firsts)
            for examples, more in ((tally.dropped, outcome.examples), (tally.kept, outcome.kept)):
                for example in more:
                    examples.add(replace(example, id=hide(example.id), of=hide(example.of)))
        return counts, tally

    def _trace(self, todo: list[Portion], counts: list[Counts], found: Found, out: Path) -> None:
        """What leads from the shards back to the files, and tells people what is in them."""
        places, by_source = _gather(todo, out), BySource(self.sources)
        with (out / PORTIONS).open("wb") as file:
            for portion, own in zip(todo, counts, strict=True):
                by_source.add(portion, own)
                files, here = Draft.of(out, portion.number).folder / "files.json", places[portion.number]
                file.write(PortionLine.of(portion, by_source.number(portion), own, here, files).line())
        left_out = {why.value: len(names) for why, names in found.left_out.items()}
        known = {**lineage(recorded(self), by_source, self._rule_files()), "left_out": left_out}
        write_json(out / FILE, known)
        card = data_card({**known, "sources": self._shown(known["sources"])}, sum(counts, Counts()))
        atomic_write(out / CARD, card.encode())

    def _shown(self, sources: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """What is said of the sources, private data in their paths hidden as in the text."""
        hide = hide_names(self.rules)
        return [{**source, "path": hide(str(source["path"]))} for source in sources]

    def documents(self, file: SourceFile, record: Raw) -> Iterator[Document]:
        """The documents of one record: normalised, cut, their language named; no rule has seen them."""
        text = normalise(record.text, self.normalise)
        extra: dict[str, str] = {}
        if (target := file.source.target_field) is not None:
            text, extra = pair(text, normalise(record.fields[target], self.normalise))
        cut = file.source.documents
        for piece_number, piece in enumerate(cut.pieces(text)):
            inside = "" if isinstance(cut, Whole) else f".{piece_number}"
            stated = file.source.language
            language = {"language": stated} if stated else self.language.describe(piece)
            fields = {name: value for name, value in record.fields.items() if name != target and name not in OURS}
            meta = {**fields, **extra, "source": file.name, **place_of(record), **language}
            document = Document(id=f"{record_id(file, record)}{inside}", text=piece, meta=meta)
            convert_document(document, self.normalise.chinese)
            yield document

    def _nothing_to_read(self, found: Found) -> str:
        places = ", ".join(str(source.path) for source in self.sources)
        ignored = f"; left out: {found.told()}" if found.ignored else ""
        return f"clean.sources: no file in {places} ends in {' '.join(catalog.names('reader'))}{ignored}"


def _empty(folder: Path) -> Path:
    """The folder, new."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def _gather(todo: list[Portion], out: Path) -> list[dict[str, tuple[int, int]]]:
    """One file each of what was quarantined and of what was dropped; where in them the lines of each portion stand."""
    places: list[dict[str, tuple[int, int]]] = [{} for _ in todo]
    for name, parts in (
        ("quarantine.jsonl", ("quarantine.jsonl",)),
        ("dropped.jsonl", ("dropped.jsonl", "fallen.jsonl")),
    ):
        with (out / name).open("wb") as file:
            for portion in todo:
                begin = file.tell()
                for part in parts:
                    with (Draft.of(out, portion.number).folder / part).open("rb") as lines:
                        shutil.copyfileobj(lines, file)
                places[portion.number][name] = begin, file.tell()
    return places

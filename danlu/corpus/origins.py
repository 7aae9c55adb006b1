"""Where the documents of a store come from, carried in its folder, for a trace wherever that is moved.

    offsets.bin     at which byte the record of each document begins (offsets.py)
    lineage.json    as ``clean`` wrote it: settings, versions, sources with licences and counts
    lineage.jsonl   its lines for the portions that have a document in the store, each with the files of these documents
    data_card.md    as ``clean`` wrote it

No text is among them: eight bytes a document, and some hundred a file. The columns of the documents (table.py) have the
id, which says the number of the record, and the file. A store of documents that no ``clean`` has made lacks the last
three, and of what has no places the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from danlu.clean.data_card import FILE as DATA_CARD
from danlu.clean.lineage import FILE as LINEAGE
from danlu.clean.lineage import PORTIONS, PortionLine, read_portions
from danlu.corpus.drafts import Draft
from danlu.corpus.elsewhere import CARRIED
from danlu.corpus.portions import Portion
from danlu.corpus.split import Part
from danlu.corpus.table import DocumentTable
from danlu.errors import InputError

COPIED = (LINEAGE, DATA_CARD)


@dataclass(frozen=True)
class Origins:
    """What ``clean`` knows, for the stores that are packed from its documents."""

    clean: Path
    """Its folder."""
    drafts: dict[str, list[int]]
    """By the name of a shard of documents the drafts that have some of it."""

    @classmethod
    def of(cls, clean: Path, todo: Sequence[Portion]) -> Origins | None:
        """For drafts of these portions; None where no ``clean`` of this sort wrote the documents."""
        if not (clean / LINEAGE).exists():
            return None
        drafts: dict[str, list[int]] = {}
        for portion in todo:
            for stretch in portion.stretches:
                drafts.setdefault(stretch.shard.name, []).append(portion.number)
        return cls(clean, drafts)

    def write(self, out: Path, part: Part) -> None:
        """Put them into the folder of the store that was gathered in ``out``.

        Raises:
            InputError: a file of ``clean`` is missing or damaged.
        """
        for name in COPIED:
            try:
                (out / part / name).write_bytes((self.clean / name).read_bytes())
            except FileNotFoundError as error:
                raise InputError(f"{error.filename} is missing; run 'danlu clean'") from None
        with (out / part / PORTIONS).open("wb") as file:
            for line in self._lines(out, part):
                file.write(line.line())

    def _lines(self, out: Path, part: Part) -> Iterator[PortionLine]:
        """Those of portions that have documents there; drafts follow each other as portions do."""
        known: dict[int, frozenset[str]] = {}
        for line in read_portions(self.clean):
            numbers = self.drafts.get(line.shard or "", [])
            known = {number: known.get(number) or _sources(out, part, number) for number in numbers}
            files = [file for file in line.files if any(file.name in names for names in known.values())]
            if files:
                yield replace(line, files=files)


def _sources(out: Path, part: Part, draft: int) -> frozenset[str]:
    """The files that documents of a draft are from."""
    draft_of = Draft.of(out, draft)
    table = DocumentTable.open(draft_of.folder / part, draft_of.about(part)["languages"])
    return frozenset(table.sources.all())


def carried(folder: Path) -> list[str]:
    """Which of the files beside the columns a store has."""
    return [name for name in CARRIED if (folder / name).exists()]

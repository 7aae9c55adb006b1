"""The last pass: what stays of each draft becomes a shard, and all is counted."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from danlu.clean.counts import Counts
from danlu.clean.drafts import Draft, fallen, write_line
from danlu.clean.duplicates import WHOLE, apply, by_document, read_cuts
from danlu.clean.numbering import Numbering
from danlu.clean.samples import Example, Examples, read_examples
from danlu.text.document import TARGET_START, Document, shard_path


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the choices of ``clean.duplicates`` have decided about one portion, in their order."""

    portion: int
    reasons: tuple[str, ...] = ()
    cuts: tuple[Path, ...] = ()

    def then(self, reason: str, cuts: Path) -> Ruling:
        """With what one more choice has decided."""
        return Ruling(self.portion, (*self.reasons, reason), (*self.cuts, cuts))

    def by_document(self) -> dict[int, list[tuple[str, np.ndarray[Any, Any]]]]:
        """The copies in each document that has any, by its number in the portion, with their reasons."""
        found: dict[int, list[tuple[str, np.ndarray[Any, Any]]]] = {}
        for reason, path in zip(self.reasons, self.cuts, strict=True):
            for number, cuts in by_document(read_cuts(path)).items():
                found.setdefault(number, []).append((reason, cuts))
        return found


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one portion."""

    portion: int
    counts: Counts
    examples: list[Example]


@dataclass(frozen=True)
class Finishing:
    """Makes shards in ``out`` of the drafts there; picklable, and a process calls it once."""

    out: Path

    def __call__(self) -> Callable[[Ruling], Outcome]:
        """From what was decided about a portion to its outcome."""
        numbering = Numbering.of(self.out)

        def finish(ruling: Ruling) -> Outcome:
            draft = Draft.of(self.out, ruling.portion)
            shard = shard_path(self.out, ruling.portion)
            ruled = ruling.by_document()
            if not ruled:
                return Outcome(ruling.portion, *_all_stay(draft, shard))
            return Outcome(ruling.portion, *_some_fall(draft, shard, ruled, numbering))

        return finish


def _all_stay(draft: Draft, shard: Path) -> tuple[Counts, list[Example]]:
    """The draft as it is."""
    counts, table = draft.counts(), draft.table()
    counts.keep(table)
    (draft.folder / "fallen.jsonl").touch()
    if len(table):
        unfinished = _unfinished(shard)
        shutil.copyfile(draft.documents, unfinished)
        unfinished.replace(shard)
    return counts, list(read_examples(draft.folder / "examples.jsonl"))


def _unfinished(path: Path) -> Path:
    """Where a file grows: each by itself, for a process that seems lost may still be at the same one."""
    return path.with_name(f".{path.name}-{secrets.token_hex(8)}")


def _some_fall(
    draft: Draft, shard: Path, ruled: dict[int, list[tuple[str, np.ndarray[Any, Any]]]], numbering: Numbering
) -> tuple[Counts, list[Example]]:
    """The draft without what falls, and ``fallen.jsonl``: id, offset, reason, and which document it repeats."""
    counts, table, examples = draft.counts(), draft.table(), Examples()
    for example in read_examples(draft.folder / "examples.jsonl"):
        examples.add(example)
    stays = np.ones(len(table), dtype=bool)
    fallen_log = draft.folder / "fallen.jsonl"
    unfinished, unfinished_log = _unfinished(shard), _unfinished(fallen_log)
    with (
        draft.documents.open("rb") as lines,
        unfinished_log.open("wb") as log,
        unfinished.open("wb") as file,
    ):
        for number, line in enumerate(lines):
            if number not in ruled:
                file.write(line)
                continue
            document = Document.from_line(line)
            whole, text = _left(document, ruled[number])
            if text is not None:
                table[number]["characters"], table[number]["bytes"] = len(text), len(text.encode())
                document.text = text
                file.write(document.line())
                continue
            reason, first = whole
            stays[number] = False
            counts.dropped[reason] += 1
            examples.add(Example.of(document, reason))
            write_line(log, {**fallen(document, reason), "of": numbering.id(first)})
    unfinished_log.replace(fallen_log)
    counts.keep(table[stays])
    if stays.any():
        unfinished.replace(shard)
    else:
        unfinished.unlink()
    return counts, list(examples)


def _left(document: Document, ruled: list[tuple[str, np.ndarray[Any, Any]]]) -> tuple[tuple[str, int], str | None]:
    """The reason and the number of what it repeats, were it to fall; and what is left of its text, None where it falls.

    Of a pair nothing is cut, for its sides belong together.
    """
    for reason, cuts in ruled:
        if (whole := cuts[cuts["end"] == WHOLE]).size:
            return (reason, int(whole["first"][0])), None
    reason, cuts = ruled[-1]
    first = int(cuts["first"][0])
    if TARGET_START in document.meta:
        return (reason, first), document.text
    return (reason, first), apply(document.text, np.concatenate([cuts for _, cuts in ruled]))

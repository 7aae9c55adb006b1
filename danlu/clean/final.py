"""The last pass: what stays of each draft becomes a shard, and all is counted."""

from __future__ import annotations

import secrets
import shutil
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from danlu.clean.counts import Counts, Size
from danlu.clean.drafts import Draft, fallen, write_line
from danlu.clean.duplicates import WHOLE, apply, by_document, read_cuts
from danlu.clean.numbering import Numbering
from danlu.clean.samples import EACH_KEPT, KEPT, Example, Examples, read_examples
from danlu.text.document import TARGET_START, Document, shard_path

AT_ONCE = 1 << 16
"""Rows of a table that are looked at together."""
Table = np.ndarray[Any, Any]
Stays = np.ndarray[Any, np.dtype[np.bool_]]
"""``[documents]``: which of a draft stay."""
Ruled = dict[int, list[tuple[str, np.ndarray[Any, Any]]]]
"""The copies in each document that has any, by its number in the portion, with their reasons."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the choices of ``clean.duplicates`` have decided about one portion, in their order."""

    portion: int
    reasons: tuple[str, ...] = ()
    cuts: tuple[Path, ...] = ()

    def then(self, reason: str, cuts: Path) -> Ruling:
        """With what one more choice has decided."""
        return Ruling(self.portion, (*self.reasons, reason), (*self.cuts, cuts))

    def by_document(self) -> Ruled:
        """The copies in each document that has any, by its number in the portion, with their reasons."""
        found: Ruled = {}
        for reason, path in zip(self.reasons, self.cuts, strict=True):
            for number, cuts in by_document(read_cuts(path)).items():
                found.setdefault(number, []).append((reason, cuts))
        return found


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one portion."""

    portion: int
    counts: dict[int, Counts]
    """By part of the sources."""
    examples: list[Example]
    """Of what was dropped."""
    kept: list[Example]
    repeated: dict[str, np.ndarray[Any, Any]]
    """By reason, the numbers of the documents (over all portions) that those which fell repeat."""


Became = tuple[dict[int, Counts], list[Example], list[Example], dict[str, np.ndarray[Any, Any]]]
"""What an :class:`Outcome` holds beside the number of its portion."""


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


def _all_stay(draft: Draft, shard: Path) -> Became:
    """The draft as it is."""
    table = draft.table()
    (draft.folder / "fallen.jsonl").touch()
    if len(table):
        unfinished = _unfinished(shard)
        shutil.copyfile(draft.documents, unfinished)
        unfinished.replace(shard)
    counts, stays = draft.counts(), np.ones(len(table), dtype=bool)
    _keep(counts, table, stays)
    examples = list(read_examples(draft.folder / "examples.jsonl"))
    return counts, examples, _kept(draft, table, stays, {}), {}


def _unfinished(path: Path) -> Path:
    """Where a file grows: each by itself, for a process that seems lost may still be at the same one."""
    return path.with_name(f".{path.name}-{secrets.token_hex(8)}")


def _some_fall(draft: Draft, shard: Path, ruled: Ruled, numbering: Numbering) -> Became:
    """The draft without what falls, and ``fallen.jsonl``: id, offset, reason, and which document it repeats."""
    counts, table, examples = draft.counts(), draft.table(), Examples()
    for example in read_examples(draft.folder / "examples.jsonl"):
        examples.add(example)
    stays = np.ones(len(table), dtype=bool)
    repeated: defaultdict[str, list[int]] = defaultdict(list)
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
            document, row = Document.from_line(line), table[number]
            (reason, first), text = _left(document, ruled[number])
            if text is not None:
                row["characters"], row["bytes"] = Size.of(text)
                document.text = text
                file.write(document.line())
                continue
            stays[number] = False
            came, original = Size(int(row["characters_in"]), int(row["bytes_in"])), numbering.document(first)
            counts.setdefault(int(row["part"]), Counts()).drop(reason, row["language"].decode(), came)
            repeated[reason].append(first)
            if examples.wants(reason, row["order"].decode()):
                examples.add(Example.of_document(document, reason, characters=came.characters, of=original))
            write_line(log, {**fallen(document, reason), "of": original.id})
    unfinished_log.replace(fallen_log)
    if stays.any():
        unfinished.replace(shard)
    else:
        unfinished.unlink()
    _keep(counts, table, stays)
    firsts = {reason: np.unique(numbers) for reason, numbers in repeated.items()}
    return counts, list(examples), _kept(draft, table, stays, ruled), firsts


def _keep(counts: dict[int, Counts], table: Table, stays: Stays) -> None:
    """Count the documents that stay, by part."""
    for start in range(0, len(table), AT_ONCE):
        rows = table[start : start + AT_ONCE][stays[start : start + AT_ONCE]]
        for part in np.unique(rows["part"]).tolist():
            counts.setdefault(part, Counts()).keep(rows[rows["part"] == part])


def _kept(draft: Draft, table: Table, stays: Stays, ruled: Ruled) -> list[Example]:
    """Examples of what stays: the first few of each language and length."""
    numbers = np.empty(0, np.int64)
    for start in range(0, len(table), AT_ONCE):  # the first few of all are among the first few of any part
        more = np.flatnonzero(stays[start : start + AT_ONCE]) + start
        numbers = _first_few(table, np.concatenate([numbers, more]))
    found = []
    with draft.documents.open("rb") as lines:
        for number in np.sort(numbers).tolist():
            lines.seek(int(table["offset"][number]))
            document = Document.from_line(lines.readline())
            if number in ruled:
                _, text = _left(document, ruled[number])
                assert text is not None, "it stays"
                document.text = text
            found.append(Example.of_document(document, KEPT, characters=len(document.text)))
    return found


def _first_few(table: Table, numbers: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Of the documents with these numbers the first ``EACH_KEPT`` of each language and length."""
    rows = table[numbers]
    strata, languages = np.frexp(rows["characters"])[1] // 2, rows["language"]  # as samples.stratum has them
    sorting = np.lexsort((rows["order"], strata, languages))
    languages, strata = languages[sorting], strata[sorting]
    same = np.ones(len(sorting), dtype=bool)  # as the one EACH_KEPT before it
    same[:EACH_KEPT] = False
    same[EACH_KEPT:] = (languages[EACH_KEPT:] == languages[:-EACH_KEPT]) & (strata[EACH_KEPT:] == strata[:-EACH_KEPT])
    kept: np.ndarray[Any, Any] = numbers[sorting][~same]
    return kept


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
